"""Examination of a project: findings in plain words, each with the command that mends it. Nothing is changed.

A file examines one part: the deployed model, the journal, MLflow's store, monitoring, or this machine. Each check reads
the part as other commands do. A check that fails does not stop the others.
"""

from churnops.doctor.examination import Examination, examine
from churnops.doctor.finding import ProjectFinding

__all__ = ["Examination", "ProjectFinding", "examine"]
