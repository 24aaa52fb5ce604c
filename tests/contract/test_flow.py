"""A flow's code keeps all of an image."""

import numpy as np
from contract.zoo import ROWS, batch_of, compiled, rows, variables_of

from jaxgen.core.conditions import UNLABELLED
from jaxgen.models.flow.base import FlowModel


@rows(FlowModel)
def test_codes_decode_to_their_images(name):
    """Those of labelled models as of images without a label, by the programs of other tests."""
    model, image = ROWS[name], batch_of(ROWS[name])["image"]
    code = compiled(model, "encode")(variables_of(model), image)[:5]
    condition = None if model.condition is None else np.full(5, UNLABELLED, np.int32)
    np.testing.assert_array_equal(compiled(model, "decode")(variables_of(model), code, condition), image[:5])
