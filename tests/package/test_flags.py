"""One flagfile serves every command: a flag's name must mean the same wherever it is known."""

import collections

from semicml_tf import commandline

# Paths and switches of the call rather than of the study, and two that do mean the same.
_SHARED = {
    "input": "what the command reads",
    "output": "what the command makes",
    "overwrite": "replace the output",
    "accept": "codes of errors to take as warnings",
    "run": "a run's folder",
    "dataset": "a converted dataset",
    "dataset_access": "how a dataset at a URL is read",
    "cache_dir": "where its shards are kept",
    "modalities": "names of modalities",
    "modality": "name of a modality",
    "batch_size": "slices a call",
    "layout": "of the source files",
    "seed": "source of randomness",
    "partition": "whom to score",
    "surface_tolerance_mm": "of the surface DSC",
    "failure_dice": "a lower DSC is a failure",
    "flagfile": "files with flags of the study",
    "postprocessing": "of the masks that are scored: none, or chosen for each run",
    "folds": "number of folds of a cross-validation",
    "stratify": "equal volumes of lesions in all parts of a split",
    "validation_patients": "number of validation patients of a fold",
    "fold_file": "folds of the user's own",
    "labelled_patients": "number of labelled patients, or all",
    "case_images": "images to keep for the report",
    "jobs": "masks that are scored at the same time",
    "allow_other_data": "data with another hash than those of the training",
    "max_voxels": "of a volume, at most",
    "workers": "processes at a time; 0: one a core",
    "dry_run": "tell what would be done, and do none of it",
    "window": "side of the slices that networks see",
    "flips": "mirror the windows along these axes, and average",
    "overlap": "share of a window that its neighbour covers, too",
}


def test_commands_share_no_other_flag_names():
    known = collections.defaultdict(list)
    for command in commandline.COMMANDS:
        for name in commandline.flags_of(command):
            known[name].append(command)
    shared = {name: commands for name, commands in known.items() if len(commands) > 1}
    assert set(shared) <= set(_SHARED), {name: shared[name] for name in set(shared) - set(_SHARED)}
