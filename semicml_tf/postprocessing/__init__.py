"""Post-processing of masks on the patient's own grid, shared by evaluation, prediction and serving."""
