"""Play the jobs of the CI workflow against a real API server and a real registry: `make test-cluster`, with $KUBECONFIG."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / folder) for folder in ("sluice", "cluster/rollouts", "cluster/rollouts/stand_ins")]
