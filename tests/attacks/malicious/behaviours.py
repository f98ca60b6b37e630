"""All of them."""

from __future__ import annotations

from tests.attacks.malicious import channels, control, frames, messages, tls, values
from tests.attacks.malicious.table import Behaviour, Goes

NOTHING = Behaviour("nothing: she computes honestly", "none", Goes())

TABLE: list[Behaviour] = [
    NOTHING,
    Behaviour("nothing, in two starts", "none", Goes(), turns=2),
    *channels.TABLE,
    *tls.TABLE,
    *frames.TABLE,
    *control.TABLE,
    *messages.TABLE,
    *values.TABLE,
]
