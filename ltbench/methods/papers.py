"""Papers of several methods."""

from ltbench.core.types import Paper

RIDE_PAPER = Paper(
    title="Long-tailed Recognition by Routing Diverse Distribution-Aware Experts",
    authors="Xudong Wang, Long Lian, Zhongqi Miao, Ziwei Liu, Stella X. Yu",
    venue="ICLR",
    year=2021,
    arxiv="2010.01809",
)

DECOUPLING = Paper(
    title="Decoupling Representation and Classifier for Long-Tailed Recognition",
    authors="Bingyi Kang, Saining Xie, Marcus Rohrbach, Zhicheng Yan, Albert Gordo, "
    "Jiashi Feng, Yannis Kalantidis",
    venue="ICLR",
    year=2020,
    arxiv="1910.09217",
)

LOGIT_ADJUSTMENT = Paper(
    title="Long-tail learning via logit adjustment",
    authors="Aditya Krishna Menon, Sadeep Jayasumana, Ankit Singh Rawat, Himanshu Jain, "
    "Andreas Veit, Sanjiv Kumar",
    venue="ICLR",
    year=2021,
    arxiv="2007.07314",
)

BALANCED_META_SOFTMAX = Paper(
    title="Balanced Meta-Softmax for Long-Tailed Visual Recognition",
    authors="Jiawei Ren, Cunjun Yu, Shunan Sheng, Xiao Ma, Haiyu Zhao, Shuai Yi, Hongsheng Li",
    venue="NeurIPS",
    year=2020,
    arxiv="2007.10740",
)

IMBALANCE_STUDY = Paper(
    title="A systematic study of the class imbalance problem in convolutional neural networks",
    authors="Mateusz Buda, Atsuto Maki, Maciej A. Mazurowski",
    venue="Neural Networks",
    year=2018,
    arxiv="1710.05381",
)

HYBRID = Paper(
    title="Contrastive Learning based Hybrid Networks for Long-Tailed Image Classification",
    authors="Peng Wang, Kai Han, Xiu-Shen Wei, Lei Zhang, Lei Wang",
    venue="CVPR",
    year=2021,
    arxiv="2103.14267",
)
