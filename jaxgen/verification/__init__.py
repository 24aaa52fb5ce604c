"""Whether a model is the distribution that it says it is."""

from jaxgen.verification.picture import LEGEND
from jaxgen.verification.verify import Report, verify

__all__ = ["LEGEND", "Report", "verify"]
