"""What all sections of the configuration have in common."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

TargetRole = Literal["READ_WRITE", "READ_ONLY"]


class Settings(BaseModel):
    """A section: no unknown keys, no conversion of types, no change after it was made."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )
