"""Expressions over points, such as ``{ahu-1/heating} > 10 and {ahu-1/cooling} > 10``.

A point is ``{device/name}``: without braces, ``-`` and ``/`` would mean two things. Further there
are numbers, ``true``, ``false``, ``+ - * /``, ``< <= > >= == !=`` (two sides only), ``and``,
``or``, ``not``, parentheses, ``min(a, b, …)``, ``max(a, b, …)`` and ``abs(a)``. ``not`` binds
looser than a comparison, so after another operator it needs parentheses.

A text is compiled once, into a few bytes in postfix order, by precedence and without recursion
(Dijkstra's shunting yard); text, depth and numbers of points and literals are limited. What has no
value – a point that has none, a division by zero – is *unknown*, None: it makes unknown what is
computed from it, except that ``false and`` it is false, ``true or`` it is true.
"""

from .compat import const

#: Limits: characters, different points, different literals, operators and values waiting.
MAX_CHARS = 256
MAX_POINTS = 16
MAX_LITERALS = 32
MAX_DEPTH = 16

# Codes of the program; literals and points are these plus their index.
_LITERAL = const(64)
_POINT = const(128)
#: The operators, each by its index; the sign of a number is "~".
# fmt: off
_OPERATORS = (
    "or", "and", "not", "<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/", "~",
    "min", "max", "abs",
)
# fmt: on
_FUNCTIONS = ("min", "max", "abs")
#: What else a text may have; functions only with their parenthesis.
_OTHERS = ("(", ")", ",", "true", "false", "min(", "max(", "abs(")
_OR = const(0)
_AND = const(1)
_NOT = const(2)
_ADD = const(9)
_NEG = const(13)
_MIN = const(14)
_ABS = const(16)
#: Precedence of each; functions only end with their parenthesis.
_RANKS = b"\x01\x02\x03\x04\x04\x04\x04\x04\x04\x05\x05\x06\x06\x07\x00\x00\x00"
_COMPARISON = const(4)
#: An open parenthesis among the waiting operators.
_OPEN = const(32)
_WORD = "abcdefghijklmnopqrstuvwxyz"
_NUMBER = "0123456789."


class Expression:
    """A compiled expression. ``points`` are the keys (``device/name``) it reads, in the order in
    which ``evaluate`` wants their values. Raises ValueError for a text that is none."""

    def __init__(self, text):
        if len(text) > MAX_CHARS:
            raise ValueError("more than %d characters" % MAX_CHARS)
        compiler = _Compiler()
        for token in _tokens(text):
            compiler.take(token)
        self._program = compiler.finish()
        self._literals = tuple(compiler.literals)
        self.points = tuple(compiler.points)

    def evaluate(self, values):
        """The result, a number or boolean; None if it is unknown.

        ``values``: one for each of ``points``, None for those without. Numbers and booleans only.
        """
        stack = []
        for code in self._program:
            if code >= _POINT:
                stack.append(values[code - _POINT])
            elif code >= _LITERAL:
                stack.append(self._literals[code - _LITERAL])
            else:
                right = stack.pop()
                if code in (_NOT, _NEG, _ABS):
                    stack.append(_unary(code, right))
                else:
                    stack.append(_binary(code, stack.pop(), right))
        return stack[0]


class _Compiler:
    """Turns tokens into a program, operand and operator by turns."""

    def __init__(self):
        self.literals = []
        self.points = []
        self._program = bytearray()
        self._waiting = []  # operators and open parentheses
        self._counts = []  # arguments so far of each open parenthesis, 0 without a function
        self._depth = self._deepest = 0
        self._operand = True  # an operand comes next

    def take(self, token):
        """Take the next token, of those that ``_tokens`` makes."""
        if self._operand:
            self._take_operand(token)
        elif token == ")":
            self._close()
        elif token == ",":
            self._close_argument()
        elif token in _OPERATORS and token != "not":
            self._take_binary(_OPERATORS.index(token))
        else:
            raise ValueError("operator expected before %s" % _shown(token))

    def finish(self):
        """The program as bytes."""
        if self._operand:
            raise ValueError("it ends where a value is expected")
        self._reduce(0)
        if self._waiting:
            raise ValueError(") is missing")
        return bytes(self._program)

    def _take_operand(self, token):
        if not isinstance(token, str) or token in ("true", "false"):
            value = token == "true" if isinstance(token, str) else token
            self._value(_LITERAL, self.literals, value, MAX_LITERALS)
        elif token[0] == "{":
            self._value(_POINT, self.points, token[1:], MAX_POINTS)
        elif token[-1] == "(":
            if token != "(":
                self._push(_OPERATORS.index(token[:-1]))
            self._counts.append(len(token) > 1)
            self._push(_OPEN)
        elif token == "-":
            self._push(_NEG)
        elif token == "not":
            if self._waiting and _rank(self._waiting[-1]) > _RANKS[_NOT]:
                raise ValueError("not needs parentheses here")
            self._push(_NOT)
        else:
            raise ValueError("value expected before %s" % token)

    def _value(self, base, known, value, limit):
        place = _place(known, value)
        if place == limit:
            raise ValueError("more than %d points or numbers" % limit)
        self._emit(base + place)
        self._operand = False

    def _take_binary(self, code):
        rank = _RANKS[code]
        waiting = self._waiting
        self._reduce(rank + 1)
        if waiting and _rank(waiting[-1]) == rank:
            if rank == _COMPARISON:
                raise ValueError("two comparisons in a row: join them by and")
            self._reduce(rank)
        self._push(code)
        self._operand = True

    def _close(self):
        self._reduce(0)
        if not self._waiting:
            raise ValueError("( is missing")
        self._waiting.pop()
        count = self._counts.pop()
        if count:
            function = self._waiting.pop()
            if (function == _ABS) != (count == 1):
                raise ValueError("%s of %d values" % (_OPERATORS[function], count))
            for _ in range(max(1, count - 1)):
                self._emit(function)

    def _close_argument(self):
        self._reduce(0)
        if not self._waiting or not self._counts[-1]:
            raise ValueError("comma outside of a function")
        self._counts[-1] += 1
        self._operand = True

    def _push(self, code):
        self._waiting.append(code)
        if len(self._waiting) > MAX_DEPTH:
            raise ValueError("nested too deeply")

    def _reduce(self, rank):
        """Emit the waiting operators of at least this rank, up to a parenthesis."""
        while self._waiting and _rank(self._waiting[-1]) >= max(rank, 1):
            self._emit(self._waiting.pop())

    def _emit(self, code):
        self._program.append(code)
        if code >= _LITERAL:
            self._depth += 1
        elif code not in (_NOT, _NEG, _ABS):
            self._depth -= 1
        if self._depth > MAX_DEPTH:
            raise ValueError("nested too deeply")


def _rank(code):
    return 0 if code == _OPEN else _RANKS[code]


def _place(known, value):
    """Index of a value in a list it is added to; of the same type, as True is 1."""
    for i, item in enumerate(known):
        if item == value and type(item) is type(value):
            return i
    known.append(value)
    return len(known) - 1


def _shown(token):
    return token if isinstance(token, str) and token[0] != "{" else "a value"


def _tokens(text):
    """Numbers (as such), ``{`` with a point's key, words, functions with their ``(``, signs."""
    at = 0
    while at < len(text):
        char = text[at]
        end = at + 1
        if char == "{":
            end = text.find("}", at) + 1
            key = text[at + 1 : end - 1]
            if not end or key.count("/") != 1 or key.startswith("/") or key.endswith("/"):
                raise ValueError("a point is {device/name}")
            yield "{" + key
        elif char in _NUMBER:
            end = _end(text, at, _NUMBER)
            yield _number(text[at:end])
        elif char != " ":
            if char in _WORD:
                end = _end(text, at, _WORD)
                if text[end : end + 1] == "(" and text[at:end] in _FUNCTIONS:
                    end += 1
            elif text[at : at + 2] in _OPERATORS:
                end += 1
            yield _known(text[at:end])
        at = end


def _end(text, at, chars):
    while at < len(text) and text[at] in chars:
        at += 1
    return at


def _known(token):
    if token in _OTHERS or (token in _OPERATORS[:_MIN] and token != "~"):
        return token
    raise ValueError("unknown: " + token)


def _number(text):
    try:
        if text == ".":  # 0.0 on MicroPython
            raise ValueError
        return float(text) if "." in text else int(text)
    except ValueError:
        raise ValueError("no number: %s" % text)


def _unary(code, value):
    if value is None:
        return None
    if code == _NOT:
        return not value
    return -value if code == _NEG else abs(value)


def _binary(code, left, right):
    if code <= _AND:
        # False decides an and, true an or, whatever the other is.
        decides = code == _OR
        for value in (left, right):
            if value is not None and bool(value) == decides:
                return decides
        return None if left is None or right is None else not decides
    if left is None or right is None:
        return None
    if code < _ADD:
        return _compare(_OPERATORS[code], left, right)
    try:
        value = _compute(_OPERATORS[code], left, right)
    except (ZeroDivisionError, OverflowError):
        return None
    # Neither NaN, which compares false with everything, nor infinite.
    return value if value - value == 0 else None


def _compare(sign, left, right):
    if sign[0] == "<":
        return left < right or (sign == "<=" and left == right)
    if sign[0] == ">":
        return left > right or (sign == ">=" and left == right)
    return (left == right) == (sign == "==")


def _compute(sign, left, right):
    if sign == "+":
        return left + right
    if sign == "-":
        return left - right
    if sign == "*":
        return left * right
    if sign == "/":
        return left / right
    return min(left, right) if sign == "min" else max(left, right)
