"""The indices of CamVid's classes that the renderer writes."""

from fcn_edge.data.camvid import CLASSES

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(len(CLASSES))
