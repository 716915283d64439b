"""Configs of CycleGAN (Zhu et al. 2017), TL-S-CycleGAN's three discriminator families, and CUT; without torch.

The defaults are the published values: Adam 2e-4 with betas (0.5, 0.999), batch size 1, no image pool, no learning-rate
decay, and inputs in [-1, 1] also for the ImageNet networks. Later GAN techniques are fields that are off by default:
pool, decay, flips, averaged generators, spectral norm, differentiable augmentation, R1, a separate learning rate for
the discriminators, gradient clipping, resize convolutions, residual generators, and the backbone's input normalisation.

The components of transfer learning are fields as well: ``pretrained``; ``trained_stages`` (Mo et al. 2020 freeze the
first ones, Sauer et al. 2021 all), see ``freezing``; ``imagenet_normalisation``; ``lambda_class`` (0: only the
real/fake head); ``head`` (Amin et al. 2022), see ``losses``; ``label_fraction`` (Odena 2016), see ``data``. In the
published method each discriminator gets real images of one class only, so its class head learns to predict that class
for every image. With ``class_on_both`` each discriminator learns both classes, as in TL-S-GAN.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Self

from bench.errors import ConfigError
from bench.types import Size, height_width

PATCHGAN = "patchgan"
NORMS = ("instance", "batch")
TWO_HEADS, CLASSES_AND_FAKE = "two_heads", "classes_and_fake"
HEADS = (TWO_HEADS, CLASSES_AND_FAKE)
STEPS = ("fast", "reference")
COMPILE = ("off", "graphs", "auto", "on")
AUGMENTATIONS = ("color", "translation", "cutout")
UPSAMPLES = ("transposed", "resize")
RESIZES = ("squash", "crop")
LATE = {"late": True}  # metadata of a field added later: its default value does not change a cell's key
MIN_IMAGE_SIZE_PX = 24  # below this the PatchGAN's last normalised map has one pixel


def check_image_size(image_size_px: Size) -> None:
    """Raise ``ConfigError`` unless the size is a multiple of 4 and at least ``MIN_IMAGE_SIZE_PX``."""
    sides = height_width(image_size_px)
    if min(sides) < MIN_IMAGE_SIZE_PX or any(side % 4 for side in sides):
        raise ConfigError(
            f"image_size_px is {image_size_px}; expected a multiple of 4, at least {MIN_IMAGE_SIZE_PX}, "
            "because a ResNet generator halves and doubles it twice"
        )


@dataclass(frozen=True)
class TranslatorConfig:
    """What all translators share: budget, ResNet generators (Zhu et al. 2017), PatchGAN width, optimiser, images."""

    image_size_px: Size | None = None  # side of square images, or [height, width]; None: the suite's
    steps: int = 2_500  # generator updates; published: 25 epochs of 100 pairs
    batch_size: int = 1  # pairs per step
    filters: int = 64  # in the generator's first convolution
    blocks: int = 9  # residual blocks in a generator
    channels: Literal["auto", 1, 3] = "auto"  # of the images; 'auto': 1 if the data set has no colour, else 3
    upsample: Literal["transposed", "resize"] = field(default="transposed", metadata=LATE)  # in the generators
    residual: bool = field(default=False, metadata=LATE)  # generators learn what to add to an image
    norm: str = "instance"  # in the generators: 'instance' or 'batch'
    disc_filters: int = 64  # in the PatchGAN's first convolution
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    lr_decay_start: float = 1.0  # share of the steps after which the rate falls linearly to 0; 1: never
    flip: bool = False  # mirror training images left-right at random
    diffaug: str = ""  # discriminator inputs: color,translation,cutout (Zhao et al. 2020); '': off
    resize: str | None = field(default=None, metadata=LATE)  # 'squash' or 'crop'; None: the suite's
    log_every: int = 50  # steps between log entries of the losses
    sample_every: int = 1_000  # steps between sample grids; the last step draws one too
    checkpoint_every: int = 500  # steps between resumable checkpoints

    def __post_init__(self) -> None:
        if self.image_size_px is not None:
            check_image_size(self.image_size_px)
            height, width = height_width(self.image_size_px)
            self._require("resize", self.resize != "crop" or height == width, "squash, because crop gives squares only")
        self._require("resize", self.resize in (None, *RESIZES), f"null, or one of {', '.join(RESIZES)}")
        for name in ("steps", "batch_size", "filters", "disc_filters", "log_every", "sample_every", "checkpoint_every"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("blocks", self.blocks >= 0, "0 or more")
        for name in ("beta1", "beta2"):
            self._require(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        self._require("learning_rate", self.learning_rate > 0, "above 0")
        self._require("lr_decay_start", 0 <= self.lr_decay_start <= 1, "in [0, 1]")
        for name, known in (("norm", NORMS), ("upsample", UPSAMPLES)):
            self._require(name, getattr(self, name) in known, f"one of {', '.join(known)}")
        fine = set(self.augmentations) <= set(AUGMENTATIONS)
        self._require("diffaug", fine, f"some of {', '.join(AUGMENTATIONS)}, separated by commas")

    @property
    def images_per_step(self) -> int:
        """Images of both classes in a step."""
        return 2 * self.batch_size

    @property
    def image_channels(self) -> int:
        """Channels of the images; 3 for 'auto', until ``for_images`` has replaced it."""
        return 3 if self.channels == "auto" else self.channels

    def for_images(self, grey: bool) -> Self:
        """Return the config with the number of channels for images with or without colour."""
        return replace(self, channels=1 if grey else 3) if self.channels == "auto" else self

    @property
    def augmentations(self) -> tuple[str, ...]:
        """The names in ``diffaug``."""
        return tuple(name.strip() for name in self.diffaug.split(",") if name.strip())

    def _require(self, name: str, fine: bool, expected: str) -> None:
        if not fine:
            raise ConfigError(f"{type(self).__name__}: {name} is {getattr(self, name)!r}, expected {expected}")


@dataclass(frozen=True)
class CycleGANConfig(TranslatorConfig):
    """A plain CycleGAN: least-squares PatchGAN discriminators, instance norm, cycle weight 10, identity weight 1."""

    discriminator: str = PATCHGAN  # 'patchgan', 'resnet50', 'vgg16' (torchvision), or a convolutional timm network
    pretrained: bool = False  # ImageNet weights in the discriminators' backbones
    trained_stages: int | None = field(default=None, metadata=LATE)  # last backbone stages that train; None: all
    head: str = field(default=TWO_HEADS, metadata=LATE)  # or 'classes_and_fake': n + 1 outputs (Amin et al. 2022)
    class_on_both: bool = field(default=False, metadata=LATE)  # class loss also on real images of the other domain
    label_fraction: float = field(default=1.0, metadata=LATE)  # share of real images whose label the class loss uses
    unlabelled: bool = field(default=False, metadata=LATE)  # D also learns from images without labels, see ``losses``
    head_width: int = 512  # hidden units of the two heads
    head_dropout: float = 0.4  # probability
    imagenet_normalisation: bool = False  # normalise images as in the backbone's ImageNet training
    disc_learning_rate: float | None = None  # for the discriminators (Heusel et al. 2017); None: learning_rate
    lambda_cycle: float = 10.0
    lambda_identity: float = 1.0
    lambda_class: float = 0.0  # 0: no class head is built
    pool_size: int = 0  # images kept for each discriminator (Shrivastava et al. 2017: 50); 0: off
    ema_decay: float = 0.0  # averaged generators make the images (Yazıcı et al. 2019: 0.999); 0: off
    spectral_norm: bool = False  # in the PatchGAN, instead of instance norm (Miyato et al. 2018)
    r1_gamma: float = 0.0  # weight of the gradient penalty on real images (Mescheder et al. 2018); 0: off
    r1_every: int = 16  # steps between penalties, which are multiplied by it (Karras et al. 2020)
    clip_grad_norm: float = 0.0  # largest gradient norm of an optimiser (Pascanu et al. 2013); 0: off
    step: str = "fast"  # 'fast', or 'reference': published order, float32, eager; equal up to rounding
    joint_batch_statistics: bool = False  # fast step: one pass for two batches although batch norm mixes them
    amp: bool = True  # fast step: bfloat16 autocast on CUDA; no effect on a CPU
    compile: str = "auto"  # fast step: 'graphs': CUDA graphs; 'on': also torch.compile; 'auto': what is faster
    keep_discriminator: bool = field(default=False, metadata=LATE)  # save D_a as a classifier; VGG-16: 1 GB

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("head_width", "r1_every"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("lambda_cycle", "lambda_identity", "lambda_class", "pool_size", "r1_gamma", "clip_grad_norm"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        for name in ("head_dropout", "ema_decay"):
            self._require(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        self._require("disc_learning_rate", self.disc_learning_rate is None or self.disc_learning_rate > 0, "above 0")
        for name, known in (("step", STEPS), ("compile", COMPILE)):
            self._require(name, getattr(self, name) in known, f"one of {', '.join(known)}")
        patchgan = self.discriminator == PATCHGAN
        self._require("spectral_norm", patchgan or not self.spectral_norm, "false, because it needs the PatchGAN")
        if self.discriminator == PATCHGAN:
            self._require("lambda_class", self.lambda_class == 0, "0, because a PatchGAN has no class head")
            self._require("pretrained", not self.pretrained, "false, because a PatchGAN has no pretrained weights")
            self._require("head", self.head == TWO_HEADS, f"{TWO_HEADS}, because a PatchGAN has no class outputs")
        self._check_transfer()

    def _check_transfer(self) -> None:
        stages, classes = self.trained_stages, self.lambda_class > 0
        self._require("trained_stages", stages is None or stages >= 0, "0 or more, or null for all")
        unfrozen = "null, because frozen stages need a pretrained backbone"
        self._require("trained_stages", stages is None or self.pretrained, unfrozen)
        self._require("head", self.head in HEADS, f"one of {', '.join(HEADS)}")
        self._require("head", classes or self.head == TWO_HEADS, f"{TWO_HEADS} if lambda_class is 0")
        own = f"false, or head: {CLASSES_AND_FAKE}, whose loss has a term for images without labels"
        self._require("unlabelled", self.head == CLASSES_AND_FAKE or not self.unlabelled, own)
        self._require("class_on_both", classes or not self.class_on_both, "false if lambda_class is 0")
        self._require("label_fraction", 0 < self.label_fraction <= 1, "in (0, 1]")
        self._require("label_fraction", classes or self.label_fraction == 1, "1 if lambda_class is 0")


@dataclass(frozen=True)
class TLSGANResNet50Config(CycleGANConfig):
    """Two-headed discriminators on an ImageNet-pretrained ResNet-50 (He et al. 2016); all layers train."""

    norm: str = "batch"
    discriminator: str = "resnet50"
    pretrained: bool = True
    lambda_cycle: float = 1.0
    lambda_class: float = 1.0


@dataclass(frozen=True)
class TLSGANResNet50ScratchConfig(TLSGANResNet50Config):
    """From-scratch counterpart: the same networks with random initial weights."""

    pretrained: bool = False


@dataclass(frozen=True)
class TLSGANVGG16Config(TLSGANResNet50Config):
    """Two-headed discriminators on VGG-16 (Simonyan & Zisserman 2015); heads with the layers of its classifier."""

    discriminator: str = "vgg16"
    head_width: int = 4096
    head_dropout: float = 0.5


@dataclass(frozen=True)
class TLSGANVGG16ScratchConfig(TLSGANVGG16Config):
    """From-scratch counterpart: the same networks with random initial weights."""

    pretrained: bool = False


@dataclass(frozen=True)
class TLSGANLite0Config(TLSGANResNet50Config):
    """Two-headed discriminators on EfficientNet-Lite0 (Tan & Le 2019), whose weights come with a Python package."""

    discriminator: str = "tf_efficientnet_lite0"
    head_width: int = 256


@dataclass(frozen=True)
class TLSGANLite0ScratchConfig(TLSGANLite0Config):
    """From-scratch counterpart: the same networks with random initial weights."""

    pretrained: bool = False


@dataclass(frozen=True)
class CUTConfig(TranslatorConfig):
    """Generators and discriminators of CycleGAN, and the contrastive loss of patches."""

    lr_decay_start: float = 0.5  # share of the steps after which the rate falls linearly to 0; 1: never
    lambda_nce: float = 1.0  # weight of the contrastive loss
    identity_nce: bool = True  # contrastive loss also on images of the target class, which should not change
    flip_equivariance: bool = False  # translate half of the batches mirrored: the translation must be mirrored too
    patches: int = 256  # of an image and feature map, at most
    temperature: float = 0.07  # of the contrastive loss
    features: int = 256  # length of a patch's vector

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("blocks", self.blocks >= 1, "at least 1, because a block's features are compared")
        self._require("features", self.features >= 1, "at least 1")
        self._require("patches", self.patches >= 2, "at least 2")
        for name in ("lambda_nce", "temperature"):
            self._require(name, getattr(self, name) > 0, "above 0")


@dataclass(frozen=True)
class FastCUTConfig(CUTConfig):
    """The paper's faster variant: a larger contrastive weight, no identity term, mirrored batches."""

    lambda_nce: float = 10.0
    identity_nce: bool = False
    flip_equivariance: bool = True
