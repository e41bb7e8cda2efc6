"""Write ``docs/api.md`` to the standard output."""

import sys

from fieldpost_tools import umqtt

sys.path.append(str(umqtt.ensure()))  # the node imports it; where Python has one, that is used

from fieldpost_tools.apidoc.examples import executed
from fieldpost_tools.apidoc.page import page

sys.stdout.write(page(executed()))
