"""Settings of the pretrain stage."""

from dataclasses import dataclass
from typing import Final

from tessera_core.errors import ConfigError, did_you_mean

OBJECTIVES: Final = ("barlow_twins", "vicreg", "sigreg")
"""Names only: the losses themselves need torch, which reading settings does not."""

VIEWS: Final = ("independent", "disjoint")
PRECISIONS: Final = ("float32", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """The model's size and how long and how fast it learns."""

    seed: int
    """Chooses initial weights, batches, views and mixing."""

    num_steps: int
    """Optimiser updates, not epochs."""

    batch_size: int
    """D-pixels per update, over all ranks: the loss correlates them with each other."""

    micro_batch_size: int | None
    """D-pixels, counting each view, that the encoder holds activations of at a time; it computes
    them again on the way back. Exact, since only the projector looks across the batch. Null keeps
    all, which is fastest."""

    reshuffle: bool
    """Draw a new order of all d-pixels each epoch; false reads the shards in their order."""

    views: str
    """``independent`` draws (as TESSERA was trained) or ``disjoint``: no observation in both."""

    view_lengths: tuple[int, ...]
    """Observations drawn per sensor and view (K of method.md 3.1). Of several lengths, every step
    draws one for each sensor."""

    modality_dropout: float
    """Chance that a view hides one sensor of a d-pixel that both saw, 0..1."""

    model_dim: int
    """Width of each encoder; 4 x the latent width in the released students."""

    num_layers: int
    """Transformer layers per sensor."""

    num_heads: int
    """Attention heads; divides ``model_dim``."""

    feedforward_dim: int
    """Width inside each layer's feed-forward part."""

    embedding_dim: int
    """Values of one embedding."""

    dropout: float
    """Dropout in transformer layers, 0..1."""

    projector_dim: int
    """Width of the projector, which training throws away."""

    projector_layers: int
    """Linear layers of the projector."""

    objective: str
    """``barlow_twins`` (as TESSERA was trained), ``vicreg`` or ``sigreg``."""

    fake_quantise: bool
    """Train behind int8: the projector sees embeddings as codes would give them back."""

    teacher: str | None
    """Folder of a model artifact to distil from, relative to the checkout, or null. The student's
    prefixes (16, 32, 64, ... values) then stand on their own; ``objective`` is not used."""

    imported: str | None
    """Folder of a model artifact to take as it is, relative to the checkout, or null. Nothing is
    trained: released weights enter the cycle this way, to be scored and registered."""

    redundancy_weight: float
    """Lambda of Barlow Twins (method.md 4.6)."""

    mix_weight: float
    """Mu of Barlow Twins' mix term; 0 leaves it out."""

    peak_lr: float
    """Learning rate at the end of warm-up, before the group multipliers."""

    matrix_lr_scale: float
    """Multiplier for tensors of two and more axes (method.md 4.8)."""

    vector_lr_scale: float
    """Multiplier for biases and norms (method.md 4.8)."""

    warmup_share: float
    """Share of steps of linear warm-up, 0..1."""

    plateau_share: float
    """Share of steps at the peak after warm-up, 0..1; the rest falls as a cosine."""

    weight_decay: float
    """AdamW weight decay."""

    max_grad_norm: float
    """Gradients are clipped to this global L2 norm."""

    precision: str
    """``float32``, or ``bfloat16`` products in encoder and projector; the loss is never less than
    float32."""

    compile: bool
    """Compile the encoder (torch.compile): minutes at the start, for a faster step on a GPU."""

    num_ranks: int
    """Processes that train together, one per GPU; they share ``batch_size`` evenly."""

    shard: bool
    """Spread weights and optimiser over the ranks (FSDP2), where they do not fit one device; one
    rank alone has nothing to spread."""

    num_threads: int
    """CPU threads of each rank; fixed, because sums in another order give other digits."""

    num_loaders: int
    """Threads per rank that gather the next batches; 0 gathers between steps."""

    log_every: int
    """Steps between logged metrics."""

    probe_every: int
    """Steps between linear probes; 0 = never."""

    save_every: int
    """Steps between checkpoints."""

    continue_from: str | None
    """Checkpoint folder of another run to go on from, relative to the checkout, or null. Refused
    where that run differs in anything that ``accept_changes`` does not name."""

    accept_changes: tuple[str, ...]
    """What may differ from the run that is continued: names of settings of this section, or
    ``shards``, ``code``, ``teacher``."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.objective not in OBJECTIVES:
            raise ConfigError(
                f"pretrain.objective is {self.objective!r}. "
                f"{did_you_mean(self.objective, OBJECTIVES)}"
            )
        for name, value, known in (
            ("views", self.views, VIEWS),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in known:
                raise ConfigError(f"pretrain.{name} is {value!r}. {did_you_mean(value, known)}")
        for name in (
            "num_steps", "num_ranks", "model_dim", "num_layers", "num_heads",
            "feedforward_dim", "embedding_dim", "projector_dim", "projector_layers",
            "num_threads", "log_every", "save_every",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ConfigError(f"pretrain.{name} is {getattr(self, name)}, expected 1 or more")
        if self.batch_size < 2:
            raise ConfigError(
                f"pretrain.batch_size is {self.batch_size}; a correlation needs 2 or more"
            )
        if self.batch_size % self.num_ranks:
            raise ConfigError(
                f"pretrain.batch_size is {self.batch_size}, which {self.num_ranks} ranks cannot "
                "share evenly"
            )
        if not self.view_lengths or min(self.view_lengths) < 1:
            raise ConfigError(
                f"pretrain.view_lengths is {list(self.view_lengths)}, expected lengths of 1 or more"
            )
        if self.model_dim % self.num_heads or self.model_dim % 2:
            raise ConfigError(
                f"pretrain.model_dim {self.model_dim} must be even and divisible by "
                f"num_heads {self.num_heads}"
            )
        for name in ("dropout", "modality_dropout", "warmup_share", "plateau_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"pretrain.{name} is {getattr(self, name)}, expected 0..1")
        self._check_sources_and_shares()

    def _check_sources_and_shares(self) -> None:
        """Check settings that must fit each other."""
        if self.micro_batch_size is not None and (self.micro_batch_size < 1 or self.shard):
            raise ConfigError(
                f"pretrain.micro_batch_size is {self.micro_batch_size}, expected 1 or more, and "
                "null with pretrain.shard: sharded weights would be fetched once per micro-batch"
            )
        known = {*self.__slots__, "shards", "code", "teacher"}
        for name in self.accept_changes:
            if name not in known:
                raise ConfigError(
                    f"pretrain.accept_changes names {name!r}. {did_you_mean(name, known)}"
                )
        if self.teacher is not None and self.imported is not None:
            raise ConfigError(
                "pretrain.teacher and pretrain.imported are both set: a model is either distilled "
                "or taken as it is; set one of them to null"
            )
        if not self.warmup_share + self.plateau_share < 1:
            raise ConfigError(
                f"pretrain.warmup_share {self.warmup_share} and plateau_share "
                f"{self.plateau_share} add up to 1 or more, which leaves no step for the rate to "
                "fall; lower one of them"
            )
        for name in ("peak_lr", "matrix_lr_scale", "vector_lr_scale", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"pretrain.{name} is {getattr(self, name)}, expected above 0")
        for name in (
            "redundancy_weight", "mix_weight", "weight_decay", "probe_every", "num_loaders", "seed",
        ):  # fmt: skip
            if not getattr(self, name) >= 0:
                raise ConfigError(f"pretrain.{name} is {getattr(self, name)}, expected 0 or more")
