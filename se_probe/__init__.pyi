"""The public names of se_probe and where each is defined, for type checkers, editors, and the package itself."""

from . import analysis as analysis
from . import costs as costs
from . import demo as demo
from . import figures as figures
from . import gates as gates
from . import models as models
from .ablation import Ablation as Ablation
from .ablation import open_ablation as open_ablation
from .costs import cost_table as cost_table
from .errors import SeProbeError as SeProbeError
from .folding import fold_gates as fold_gates
from .folding import load_folded as load_folded
from .folding.result import FoldRun as FoldRun
from .gates import GateMap as GateMap
from .gates import GateMapper as GateMapper
from .gates import GateRecorder as GateRecorder
from .gates import GateSite as GateSite
from .gates import find_gates as find_gates
from .gates import gate_maps as gate_maps
from .gates import intervene as intervene
from .images import open_images as open_images
from .images import select as select
from .images.public import fetch as fetch
from .labels import LabelSpace as LabelSpace
from .labels import imagenet as imagenet
from .models import LoadedModel as LoadedModel
from .models import load_model as load_model
from .recording import Recording as Recording
from .recording import merge as merge
from .recording import record as record
from .recording import verify as verify
from .runs.ablate import ablate as ablate
from .runs.analyse import write_analysis as write_analysis
from .runs.compare import compare as compare
from .runs.cost import CostReport as CostReport
from .runs.cost import cost as cost
from .runs.draw import draw as draw
from .runs.excite import excite as excite
from .runs.fold import fold as fold
from .runs.recorded import open_recording as open_recording
from .runs.scale import scale as scale
from .runs.scale_result import ScaleRun as ScaleRun
from .runs.scale_result import open_scale_run as open_scale_run

__version__: str
