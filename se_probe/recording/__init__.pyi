"""The public names of `se_probe.recording` and where each is defined."""

from .distributed import Ranks as Ranks
from .distributed import place_of_environment as place_of_environment
from .distributed import ranks_of_environment as ranks_of_environment
from .engine import Execution as Execution
from .guard import is_incomplete as is_incomplete
from .header import provenance_of as provenance_of
from .loop import record as record
from .merging import merge as merge
from .recording import Recording as Recording
from .recording import open_recording as open_recording
from .verification import Verification as Verification
from .verification import verify as verify
