"""The settings of a network. They stand in every editor's `config.json`, so their names stay."""

from pydantic import BaseModel, ConfigDict, Field, model_validator


class HyperConfig(BaseModel):
    """The first three are the published network's. All others add something to it and are off by default.

    Two residual layers as in MEND; rank and learning rates as measured here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(256, ge=1, description="width of each residual layer's bottleneck, or of KE's gates")
    layers: int = Field(2, ge=1, description="residual layers")
    edit_lr: float = Field(3e-4, gt=0, description="initial edit learning rate of every matrix")
    instruction: int = Field(
        0,
        ge=0,
        description="size of the vector read from the instruction; 0: the prefix alone, as in the paper",
    )
    prefixed: bool = Field(
        True,
        description="the gradient is taken behind the instruction, as published; False: on the bare prompt, "
        "and the instruction is read alone",
    )
    span: int = Field(
        1, ge=1, description="tokens in a row whose order is read of an instruction; 1: the words alone"
    )
    whitened: float = Field(
        0.0,
        ge=0,
        description="read and write keys along the base's own principal directions, eigenvalues raised by "
        "this share of their mean; 0: as they are",
    )
    whitened_rank: int = Field(
        0,
        ge=0,
        description="principal directions that keep their own eigenvalue, the others sharing a mean; 0: all",
    )
    common: int = Field(
        0,
        ge=0,
        description="directions that keys of a relation share: an instruction may send a whitened edit along "
        "them, beside some of its own key",
    )
    joint: bool = Field(
        False, description="learn how edits are solved together: ridge strengths and each token's weight"
    )
    corrected: bool = Field(
        False,
        description="edits that live together keep their own factors, corrected for each other; False: one "
        "change is solved for anew, of their keys alone",
    )
    fitted: bool = Field(
        False, description="an instruction says how far an edit's strength follows what its own prompt needs"
    )
    assured: bool = Field(
        False,
        description="an edit under which its own prompt does not say the target yet is made as strong as "
        "that takes",
    )
    lstm: int = Field(
        0,
        ge=0,
        exclude_if=lambda size: not size,  # files of the other methods do not speak of it
        description="size of the LSTM, each way, by which KE reads the edit's text",
    )

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "HyperConfig":
        if self.common and not (self.whitened and self.instruction):
            raise ValueError(
                f"common={self.common} needs whitened keys and an instruction that is read; "
                "set both, or leave it at 0."
            )
        if self.whitened_rank and not self.whitened:
            raise ValueError(f"whitened_rank={self.whitened_rank} needs whitened keys; set whitened too.")
        if (self.fitted or self.span > 1) and not self.instruction:
            raise ValueError(
                "fitted=True and a span over 1 need an instruction that is read; "
                "set its size, or leave them at False and 1."
            )
        return self

    @property
    def blind(self) -> "HyperConfig":
        """The same without what reads an instruction."""
        return self.model_copy(update={"instruction": 0, "span": 1, "common": 0, "fitted": False})
