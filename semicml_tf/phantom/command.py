"""Makes phantom patients: paired volumes with known truth and a real gap between the modalities.

The trunk has CT, which shows a lesion faintly but sharply, and PET, which shows it clearly but blurred. Each has
structures that look like a lesion in it and not in the other. With --phantom_mr the trunk also has MR, which lies
between the two. The head has T1, T1ce, T2 and FLAIR without skull. The layout decides which of them is made. The same
flags write the same bytes, and a case does not depend on the number of cases.

Beside the volumes: split.json (cases by partition) and phantom.json (how they were made).

    python -m semicml_tf.phantom --output=data/phantom --cases=40 --labelled=6 --validation=6 --test=12
"""

from __future__ import annotations

from semicml_tf import commandline
from semicml_tf.phantom.config import PhantomConfig

CONFIG = PhantomConfig
POSITIONAL = ("output",)
AFTER_INTERRUPT = "Nothing was written: start the same command again."


def main(config: PhantomConfig) -> None:
    """Makes the phantom."""
    from semicml_tf.phantom.job import make_phantom

    commandline.show(make_phantom(config))


if __name__ == "__main__":
    commandline.run("semicml_tf.phantom")
