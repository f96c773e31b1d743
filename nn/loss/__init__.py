"""Losses, each as a function and as a module.

Reading order: base (reductions and checks), regression, classification, margin (pairs, triplets, ±1 targets), image,
sequence.
"""

from .classification import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    FocalLoss,
    KLDivLoss,
    MultiMarginLoss,
    NLLLoss,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    focal_loss,
    kl_div,
    multi_margin_loss,
    nll_loss,
)
from .image import (
    DiceLoss,
    IoULoss,
    PerceptualLoss,
    TotalVariationLoss,
    dice_loss,
    iou_loss,
    perceptual_loss,
    total_variation_loss,
)
from .margin import (
    ContrastiveLoss,
    CosineEmbeddingLoss,
    HingeEmbeddingLoss,
    HingeLoss,
    MarginRankingLoss,
    PerceptronLoss,
    SoftMarginLoss,
    TripletMarginLoss,
    contrastive_loss,
    cosine_embedding_loss,
    hinge_embedding_loss,
    hinge_loss,
    margin_ranking_loss,
    perceptron_loss,
    soft_margin_loss,
    triplet_margin_loss,
)
from .regression import (
    GaussianNLLLoss,
    HalfMSELoss,
    HuberLoss,
    L1Loss,
    LogSquaredLoss,
    MSELoss,
    PoissonNLLLoss,
    SmoothL1Loss,
    SSELoss,
    gaussian_nll_loss,
    half_mse_loss,
    huber_loss,
    l1_loss,
    log_squared_loss,
    mse_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    sse_loss,
)
from .sequence import CTCLoss, ctc_loss

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CTCLoss", "ContrastiveLoss", "CosineEmbeddingLoss", "CrossEntropyLoss", "DiceLoss",
    "FocalLoss", "GaussianNLLLoss", "HalfMSELoss", "HingeEmbeddingLoss", "HingeLoss", "HuberLoss", "IoULoss",
    "KLDivLoss", "L1Loss", "LogSquaredLoss", "MSELoss", "MarginRankingLoss", "MultiMarginLoss", "NLLLoss",
    "PerceptronLoss", "PerceptualLoss", "PoissonNLLLoss", "SSELoss", "SmoothL1Loss", "SoftMarginLoss",
    "TotalVariationLoss", "TripletMarginLoss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "contrastive_loss", "cosine_embedding_loss", "cross_entropy", "ctc_loss", "dice_loss", "focal_loss",
    "gaussian_nll_loss", "half_mse_loss", "hinge_embedding_loss", "hinge_loss", "huber_loss", "iou_loss", "kl_div",
    "l1_loss", "log_squared_loss", "margin_ranking_loss", "mse_loss", "multi_margin_loss", "nll_loss",
    "perceptron_loss", "perceptual_loss", "poisson_nll_loss", "smooth_l1_loss", "soft_margin_loss", "sse_loss",
    "total_variation_loss", "triplet_margin_loss",
]  # fmt: skip
