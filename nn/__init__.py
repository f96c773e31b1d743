"""nn: layers, activations and losses on autodiff, with PyTorch's names, argument order and state_dict keys.

Models:        Module Parameter Sequential MLP Lambda Identity ModuleList ModuleDict ParameterList ParameterDict
               functional_call, save load, summary Summary layer_report LayerReport, DtypeWarning
Layers:        Linear Bilinear Embedding Dropout Dropout{1,2,3}d AlphaDropout RBF
Normalization: BatchNorm{1,2,3}d InstanceNorm{1,2,3}d LayerNorm GroupNorm RMSNorm
Images:        Conv{1,2,3}d ConvTranspose{1,2,3}d MaxPool{1,2,3}d AvgPool{1,2,3}d AdaptiveAvgPool{1,2,3}d
               AdaptiveMaxPool{1,2,3}d ConstantPad{1,2,3}d ZeroPad{1,2,3}d ReflectionPad{1,2,3}d ReplicationPad{1,2,3}d
               CircularPad{1,2,3}d Unfold Fold Upsample PixelShuffle PixelUnshuffle Flatten Unflatten
Sequences:     RNN LSTM GRU RNNCell LSTMCell GRUCell HMM LinearGaussianSSM, generate greedy sampling
Attention:     MultiheadAttention Transformer TransformerEncoder TransformerEncoderLayer TransformerDecoder
               TransformerDecoderLayer PositionalEncoding PatchEmbedding VisionTransformer vit_arithmetic
Activations:   ReLU ReLU6 LeakyReLU PReLU ELU CELU SELU GELU GLU SiLU Mish Sigmoid LogSigmoid Hardsigmoid Tanh Hardtanh
               Hardswish Softplus Softsign Softshrink Hardshrink Softmax Softmin LogSoftmax Sign Step Sine Snake
               TriangleWave
Losses:        MSELoss L1Loss HuberLoss SmoothL1Loss HalfMSELoss SSELoss LogSquaredLoss GaussianNLLLoss PoissonNLLLoss,
               CrossEntropyLoss NLLLoss BCELoss BCEWithLogitsLoss KLDivLoss FocalLoss CTCLoss, HingeLoss PerceptronLoss
               MultiMarginLoss SoftMarginLoss MarginRankingLoss HingeEmbeddingLoss CosineEmbeddingLoss ContrastiveLoss
               TripletMarginLoss, DiceLoss IoULoss TotalVariationLoss PerceptualLoss
Similarity:    CosineSimilarity PairwiseDistance
Rooms:         nn.functional (functions behind the layers), init, penalty, plot, utils
Settings:      manual_seed get_rng_state set_rng_state get_default_dtype set_default_dtype

Reading order: random, arguments, module/ and axes (what layers share); activation/, linear, dropout, normalization and
mlp; loss/; embedding, rbf, similarity and shaping; images/, recurrent/ and state_space/ (sequences with hidden
states); init and attention/. `functional` lists the functions behind the modules; `penalty` and `utils` work on the
parameters of a model; `report` and plot/ show it at work.
"""

from . import functional, init, loss, penalty, plot, random, utils
from .activation import (
    CELU,
    ELU,
    GELU,
    GLU,
    SELU,
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    Sign,
    SiLU,
    Sine,
    Snake,
    Softmax,
    Softmin,
    Softplus,
    Softshrink,
    Softsign,
    Step,
    Tanh,
    TriangleWave,
)
from .attention.attention import MultiheadAttention
from .attention.transformer import (
    PositionalEncoding,
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from .attention.vision import PatchEmbedding, VisionTransformer, vit_arithmetic
from .dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d
from .embedding import Embedding
from .generation import generate, greedy, sampling
from .images.conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .images.folding import Fold, Unfold
from .images.padding import (
    CircularPad1d,
    CircularPad2d,
    CircularPad3d,
    ConstantPad1d,
    ConstantPad2d,
    ConstantPad3d,
    ReflectionPad1d,
    ReflectionPad2d,
    ReflectionPad3d,
    ReplicationPad1d,
    ReplicationPad2d,
    ReplicationPad3d,
    ZeroPad1d,
    ZeroPad2d,
    ZeroPad3d,
)
from .images.pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from .images.resampling import Upsample
from .linear import Bilinear, Linear
from .loss import (
    BCELoss,
    BCEWithLogitsLoss,
    ContrastiveLoss,
    CosineEmbeddingLoss,
    CrossEntropyLoss,
    CTCLoss,
    DiceLoss,
    FocalLoss,
    GaussianNLLLoss,
    HalfMSELoss,
    HingeEmbeddingLoss,
    HingeLoss,
    HuberLoss,
    IoULoss,
    KLDivLoss,
    L1Loss,
    LogSquaredLoss,
    MarginRankingLoss,
    MSELoss,
    MultiMarginLoss,
    NLLLoss,
    PerceptronLoss,
    PerceptualLoss,
    PoissonNLLLoss,
    SmoothL1Loss,
    SoftMarginLoss,
    SSELoss,
    TotalVariationLoss,
    TripletMarginLoss,
)
from .mlp import MLP
from .module.container import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from .module.function import Lambda
from .module.functional_call import functional_call
from .module.module import Module
from .module.parameter import Parameter
from .module.promotion import DtypeWarning
from .module.saving import load, save
from .module.summary import Summary, summary
from .normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    RMSNorm,
)
from .random import get_default_dtype, get_rng_state, manual_seed, set_default_dtype, set_rng_state
from .rbf import RBF
from .recurrent.cells import GRUCell, LSTMCell, RNNCell
from .recurrent.layers import GRU, LSTM, RNN
from .report import LayerReport, layer_report
from .shaping import Flatten, Identity, PixelShuffle, PixelUnshuffle, Unflatten
from .similarity import CosineSimilarity, PairwiseDistance
from .state_space.hmm import HMM
from .state_space.linear_gaussian import LinearGaussianSSM

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "GRU", "HMM", "LSTM", "MLP", "RBF", "RNN", "SELU", "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d",
    "AlphaDropout", "AvgPool1d", "AvgPool2d", "AvgPool3d", "BCELoss", "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d",
    "BatchNorm3d", "Bilinear", "CTCLoss", "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d",
    "ConstantPad2d", "ConstantPad3d", "ContrastiveLoss", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d",
    "ConvTranspose2d", "ConvTranspose3d", "CosineEmbeddingLoss", "CosineSimilarity", "CrossEntropyLoss", "DiceLoss",
    "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "DtypeWarning", "Embedding", "Flatten", "FocalLoss", "Fold",
    "GRUCell", "GaussianNLLLoss", "GroupNorm", "HalfMSELoss", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh",
    "HingeEmbeddingLoss", "HingeLoss", "HuberLoss", "Identity", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d",
    "IoULoss", "KLDivLoss", "L1Loss", "LSTMCell", "Lambda", "LayerNorm", "LayerReport", "LeakyReLU", "Linear",
    "LinearGaussianSSM", "LogSigmoid", "LogSoftmax", "LogSquaredLoss", "MSELoss", "MarginRankingLoss", "MaxPool1d",
    "MaxPool2d", "MaxPool3d", "Mish", "Module", "ModuleDict", "ModuleList", "MultiMarginLoss", "MultiheadAttention",
    "NLLLoss", "PReLU", "PairwiseDistance", "Parameter", "ParameterDict", "ParameterList", "PatchEmbedding",
    "PerceptronLoss", "PerceptualLoss", "PixelShuffle", "PixelUnshuffle", "PoissonNLLLoss", "PositionalEncoding",
    "RMSNorm", "RNNCell", "ReLU", "ReLU6", "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d",
    "ReplicationPad2d", "ReplicationPad3d", "SSELoss", "Sequential", "SiLU", "Sigmoid", "Sign", "Sine", "SmoothL1Loss",
    "Snake", "SoftMarginLoss", "Softmax", "Softmin", "Softplus", "Softshrink", "Softsign", "Step", "Summary", "Tanh",
    "TotalVariationLoss", "Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
    "TransformerEncoderLayer", "TriangleWave", "TripletMarginLoss", "Unflatten", "Unfold", "Upsample",
    "VisionTransformer", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d", "functional", "functional_call", "generate",
    "get_default_dtype", "get_rng_state", "greedy", "init", "layer_report", "load", "manual_seed", "penalty", "plot",
    "sampling", "save", "set_default_dtype", "set_rng_state", "summary", "utils", "vit_arithmetic",
]  # fmt: skip
