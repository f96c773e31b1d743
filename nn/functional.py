"""The functions behind the modules, under PyTorch's names (``nn.functional as F``)."""

from .activation import (
    celu,
    elu,
    gelu,
    glu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    log_softmax,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    sign,
    silu,
    sine,
    snake,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    step,
    tanh,
    triangle_wave,
)
from .attention.attention import scaled_dot_product_attention
from .dropout import alpha_dropout, dropout, dropout1d, dropout2d, dropout3d
from .embedding import embedding, one_hot
from .images.conv import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from .images.folding import fold, unfold
from .images.padding import pad
from .images.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from .images.resampling import interpolate, upsample
from .linear import bilinear, linear
from .loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    contrastive_loss,
    cosine_embedding_loss,
    cross_entropy,
    ctc_loss,
    dice_loss,
    focal_loss,
    gaussian_nll_loss,
    half_mse_loss,
    hinge_embedding_loss,
    hinge_loss,
    huber_loss,
    iou_loss,
    kl_div,
    l1_loss,
    log_squared_loss,
    margin_ranking_loss,
    mse_loss,
    multi_margin_loss,
    nll_loss,
    perceptron_loss,
    perceptual_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
    sse_loss,
    total_variation_loss,
    triplet_margin_loss,
)
from .normalization import batch_norm, group_norm, instance_norm, layer_norm, rms_norm
from .shaping import pixel_shuffle, pixel_unshuffle
from .similarity import cosine_similarity, normalize, pairwise_distance

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "alpha_dropout", "avg_pool1d", "avg_pool2d", "avg_pool3d", "batch_norm", "bilinear",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "celu", "contrastive_loss", "conv1d", "conv2d",
    "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "cosine_embedding_loss", "cosine_similarity",
    "cross_entropy", "ctc_loss", "dice_loss", "dropout", "dropout1d", "dropout2d", "dropout3d", "elu", "embedding",
    "focal_loss", "fold", "gaussian_nll_loss", "gelu", "glu", "group_norm", "half_mse_loss", "hardshrink",
    "hardsigmoid", "hardswish", "hardtanh", "hinge_embedding_loss", "hinge_loss", "huber_loss", "instance_norm",
    "interpolate", "iou_loss", "kl_div", "l1_loss", "layer_norm", "leaky_relu", "linear", "log_softmax",
    "log_squared_loss", "logsigmoid", "margin_ranking_loss", "max_pool1d", "max_pool2d", "max_pool3d", "mish",
    "mse_loss", "multi_margin_loss", "nll_loss", "normalize", "one_hot", "pad", "pairwise_distance", "perceptron_loss",
    "perceptual_loss", "pixel_shuffle", "pixel_unshuffle", "poisson_nll_loss", "prelu", "relu", "relu6", "rms_norm",
    "scaled_dot_product_attention", "selu", "sigmoid", "sign", "silu", "sine", "smooth_l1_loss", "snake",
    "soft_margin_loss", "softmax", "softmin", "softplus", "softshrink", "softsign", "sse_loss", "step", "tanh",
    "total_variation_loss", "triangle_wave", "triplet_margin_loss", "unfold", "upsample",
]  # fmt: skip
