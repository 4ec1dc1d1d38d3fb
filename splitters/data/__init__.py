"""Images: labelled sets, their normalisation, and where they are read from."""

from splitters.data.image_set import ImageSet as ImageSet
from splitters.data.normalisation import IMAGENET as IMAGENET
from splitters.data.normalisation import Normalisation as Normalisation
