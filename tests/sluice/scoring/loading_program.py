"""Load a release, and print what came of it. It runs in the serving environment.

Arguments: the folder that contains Sluice, the unpacked release, its digest.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from sluice.errors import SluiceError
from sluice.scoring.scorer import load_scorer

try:
    scorer = load_scorer(Path(sys.argv[2]), sys.argv[3])
except SluiceError as error:
    print(json.dumps([type(error).__name__, error.message, error.hint, "parcels" in sys.modules]))  # noqa: T201
else:
    print(json.dumps(["loaded", str(scorer.exact), scorer.batches]))  # noqa: T201
