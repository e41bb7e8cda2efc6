"""A believable air-handling unit: outside air, mixing, two coils, a fan, a filter and one zone.

A lumped model with a step of ``STEP_S`` seconds, in °C, kW and kJ/K. Coils and sensors follow with
a first-order lag, so the PI loop has something to do. The same seed gives the same day, whatever
the pace at which ``advance`` is called; the clock of the model is its own.

Control, as in most buildings of this kind: occupied from 7 to 19 o'clock (or while ``override`` is
on), at night only against frost in the zone. The supply air setpoint follows the zone's; one PI
loop drives heating valve, then outside air damper (free cooling), then cooling valve. The fan
speeds up with the zone's distance from its setpoint. Mixed air near freezing closes the damper.
"""

import math
import random

STEP_S = 5
DAY_S = 86400

AIR_FLOW = 2.5  # kg/s at full speed
HEAT_CAPACITY = 1.006  # kJ/(kg K) of air
HEATING_KW = 60.0
COOLING_KW = 45.0
FAN_KW = 7.2
STANDBY_KW = 0.15
PUMP_KW = 0.25
CHILLER_COP = 3.2
ZONE_KJ_PER_K = 14000.0
ZONE_LOSS_KW_PER_K = 0.45
BASE_GAIN_KW = 1.5
PEOPLE_GAIN_KW = 9.0
SOLAR_GAIN_KW = 8.0

OCCUPIED_H = (7, 19)
NIGHT_START_C, NIGHT_STOP_C = 15.0, 18.0
MINIMUM_DAMPER = 0.2
FREEZE_C, THAWED_C = 4.0, 12.0
FILTER_PA = 110.0  # of a clean filter at full speed; twice that is full of dust
FILTER_ALARM_PA, FILTER_CLEAR_PA = 180.0, 165.0
HIGH_TEMPERATURE_C = 38.0
SENSOR_NOISE_C = 0.03

# PI loop of the supply air: output per K and per K·s, at full scale 1.
SUPPLY_GAIN, SUPPLY_INTEGRAL = 0.05, 0.0004


def clamp(value, low, high):
    """``value`` within the limits."""
    return min(max(value, low), high)


def lag(value, target, tau_s):
    """One step of a first-order lag."""
    return value + (target - value) * (1 - math.exp(-STEP_S / tau_s))


class AirHandler:
    """The plant and its controller; every public attribute is a point that can be read.

    Valves, damper and fan speed are percent, pressures Pa. ``setpoint`` (zone, °C) and
    ``override`` may be set at any time; ``change_filter()`` puts a clean filter in.
    """

    def __init__(self, seed=1, start_h=6.75):
        self._random = random.Random(seed)
        self._ms = 0
        self._clock_s = start_h * 3600
        self._weather = self._random.gauss(0, 1.5)
        self._dust = self._random.uniform(0.7, 0.8)
        self._heat = self._cool = 0.0
        self._integral = 0.0
        self._speed = 0.0
        self._zone = 18.5
        self._supply = self._mixed = self._zone
        self.setpoint = 21.0
        self.supply_setpoint = 20.0
        self.override = False
        self.occupied = self.running = False
        self.fan_status = self.filter_alarm = self.freeze_alarm = self.high_alarm = False
        self.damper = self.heating_valve = self.cooling_valve = 0.0
        self.power = STANDBY_KW
        self.energy = float(self._random.randrange(100_000, 200_000))
        self._step()

    @property
    def hour(self):
        """Time of the model's day in hours, 0 to 24."""
        return self._clock_s % DAY_S / 3600

    def advance(self, ms):
        """Let ``ms`` milliseconds pass for the unit; what is short of a step is kept."""
        self._ms += ms
        while self._ms >= STEP_S * 1000:
            self._ms -= STEP_S * 1000
            self._step()

    def change_filter(self):
        """Put a clean filter in."""
        self._dust = 0.0

    def _step(self):
        self._clock_s += STEP_S
        self._weather_step()
        self._schedule()
        self._control()
        flow = self._air()
        self._zone_step(flow)
        self._energy_step()
        self._measure()

    def _weather_step(self):
        # A day's wave, coldest at 4 and warmest at 16, and weather that wanders within hours.
        self._weather = lag(self._weather, 0, 4 * 3600) + self._random.gauss(0, 0.035)
        self._outside = 11 - 7 * math.cos(2 * math.pi * (self.hour - 4) / 24) + self._weather

    def _schedule(self):
        first, last = OCCUPIED_H
        self.occupied = first <= self.hour < last or self.override
        cold = self._zone < (NIGHT_STOP_C if self.running else NIGHT_START_C)
        self.running = self.occupied or cold

    def _control(self):
        wanted = 0.0
        if self.running:
            wanted = clamp(0.5 + 0.2 * abs(self.setpoint - self._zone), 0.5, 1.0)
        self._speed += clamp(wanted - self._speed, -0.02 * STEP_S, 0.02 * STEP_S)
        if not self.running:
            self._integral = 0.0
            self._drive(0.0, 0.0, 0.0)
            return
        self.supply_setpoint = clamp(19 + 4 * (self.setpoint - self._zone), 14.0, 30.0)
        error = self.supply_setpoint - self._supply
        output = SUPPLY_GAIN * error + self._integral
        if abs(output) < 1 or output * error < 0:  # no windup at the stops
            self._integral += SUPPLY_INTEGRAL * error * STEP_S
        self._sequence(clamp(output, -1.0, 1.0))

    def _sequence(self, output):
        """Spread the loop's output, -1 (cool) to 1 (heat), over valves and damper."""
        least = MINIMUM_DAMPER if self.occupied else 0.0
        free = self._outside < self._zone - 1
        if output >= 0:
            self._drive(least, output, 0.0)
        elif free:
            damper = least + (1 - least) * min(-output * 2, 1.0)
            self._drive(damper, 0.0, max(-output * 2 - 1, 0.0))
        else:
            self._drive(least, 0.0, -output)

    def _drive(self, damper, heating, cooling):
        if self.freeze_alarm:
            damper, heating = 0.0, max(heating, 0.5)
        self.damper = 100 * lag(self.damper / 100, damper, 20)
        self.heating_valve = 100 * lag(self.heating_valve / 100, heating, 15)
        self.cooling_valve = 100 * lag(self.cooling_valve / 100, cooling, 15)

    def _air(self):
        """Mixing, coils and fan; returns the heat capacity flow of the air in kW/K."""
        flow = AIR_FLOW * self._speed * HEAT_CAPACITY
        share = self.damper / 100
        mixed = share * self._outside + (1 - share) * (self._zone + 0.4)
        self._heat = lag(self._heat, HEATING_KW * self.heating_valve / 100, 60)
        self._cool = lag(self._cool, COOLING_KW * self.cooling_valve / 100, 60)
        if flow > 0.1:
            fan_kw = 0.9 * FAN_KW * self._speed**3
            leaving = mixed + (self._heat - self._cool + fan_kw) / flow
            self._mixed = lag(self._mixed, mixed, 20)
            self._supply = lag(self._supply, clamp(leaving, 8.0, 45.0), 30)
        else:
            self._mixed = lag(self._mixed, self._zone, 1800)
            self._supply = lag(self._supply, self._zone, 900)
        return flow

    def _zone_step(self, flow):
        sun = max(0.0, math.sin(math.pi * (self.hour - 6) / 12)) if 6 < self.hour < 18 else 0.0
        gain = BASE_GAIN_KW + SOLAR_GAIN_KW * sun + PEOPLE_GAIN_KW * self.occupied
        loss = ZONE_LOSS_KW_PER_K * (self._outside - self._zone)
        heat = gain + loss + flow * (self._supply - self._zone)
        self._zone += heat * STEP_S / ZONE_KJ_PER_K

    def _energy_step(self):
        pumps = PUMP_KW * ((self.heating_valve > 2) + (self.cooling_valve > 2))
        self.power = STANDBY_KW + FAN_KW * self._speed**3 + pumps + self._cool / CHILLER_COP
        self.energy += self.power * STEP_S / 3600
        self._dust += 2e-7 * STEP_S * self._speed

    def _measure(self):
        """Sensors: what the model knows, with noise, and the alarms that follow from it."""
        self.outside_air, self.return_air, self.mixed_air, self.supply_air = (
            value + self._random.gauss(0, SENSOR_NOISE_C)
            for value in (self._outside, self._zone + 0.4 * self._speed, self._mixed, self._supply)
        )
        self.fan_speed = 100 * self._speed
        self.fan_status = self._speed > 0.15
        self.filter_pressure = FILTER_PA * (1 + self._dust) * self._speed**2
        limit = FILTER_CLEAR_PA if self.filter_alarm else FILTER_ALARM_PA
        self.filter_alarm = self.filter_pressure > limit
        self.freeze_alarm = self._mixed < (THAWED_C if self.freeze_alarm else FREEZE_C)
        self.high_alarm = self._supply > HIGH_TEMPERATURE_C
