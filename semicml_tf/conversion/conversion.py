"""The steps of a conversion: split, verification, plan of the grid, records."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shlex
from collections.abc import Callable, Mapping, Sequence

from semicml_tf import configuration
from semicml_tf.configuration import as_flags, given
from semicml_tf.conversion.config import WITH_PATHS, WITHOUT_EFFECT, ConvertConfig
from semicml_tf.conversion.execution import dataset_writer, pipeline
from semicml_tf.conversion.execution import work_folder as works
from semicml_tf.conversion.execution.beam_runner import BeamRunner
from semicml_tf.conversion.execution.local_runner import LocalRunner
from semicml_tf.conversion.execution.output import Target
from semicml_tf.conversion.execution.tasks import CaseJob
from semicml_tf.conversion.execution.work_folder import WorkFolder
from semicml_tf.conversion.planning import fingerprint as fingerprints
from semicml_tf.conversion.planning import plan as plans
from semicml_tf.conversion.planning.flagfiles import flagfiles
from semicml_tf.conversion.planning.patches import plan_patches
from semicml_tf.conversion.privacy.names import Hidden, Open
from semicml_tf.conversion.settings import Settings
from semicml_tf.conversion.splitting import choose_split
from semicml_tf.conversion.splitting import split as splits
from semicml_tf.conversion.verification import findings, statistics
from semicml_tf.conversion.verification.across_cases import across
from semicml_tf.conversion.verification.findings import CaseReport, Finding
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts.options import LayoutOptions
from semicml_tf.records import case_cards
from semicml_tf.records.case_record import PARTITIONS
from semicml_tf.system import atomic_files
from semicml_tf.system.versions import versions

# Their versions are written into a dataset.
_DISTRIBUTIONS = ("numpy", "scipy", "nibabel", "pydicom", "SimpleITK")


@dataclasses.dataclass(frozen=True)
class ConvertResult:
    """The result of a conversion.

    Attributes:
        dataset: the dataset's folder or URL; None if the cases were only verified.
        data_hash: hash of the dataset; None without a dataset.
        cases: names of the cases by partition.
        findings: findings of verification, in the order of the cases.
        text: the printed result, in lines.
    """

    dataset: str | None
    data_hash: str | None
    cases: Mapping[str, tuple[str, ...]]
    findings: tuple[Finding, ...]
    text: str = ""


@dataclasses.dataclass
class Conversion:
    """One conversion: its options, and the objects that its steps share.

    Attributes:
        config: the options.
        source: the input.
        target: the output.
        layout: the input's layout, a module or an object with its functions.
        settings: how cases are built. A plan may change them.
        runner: where the work on cases runs.
        privacy: which names and paths may be printed.
        report: prints a line.
    """

    config: ConvertConfig
    source: pathlib.Path
    target: Target
    layout: object
    settings: Settings
    runner: LocalRunner | BeamRunner
    privacy: Open | Hidden
    report: Callable[[str], None] = print

    def run(self) -> ConvertResult:
        """Verifies the cases and, unless ``config.verify_only`` is set, converts them.

        Raises:
            UserError: the input or an option is wrong.
        """
        with self.privacy.errors(), self.target.work(cache=self.config.case_cache or None) as work, self.runner:
            options = self.config.layout_options()
            cases = self._cases(options)
            odd = self._oddities(options)
            split, chosen = self._partitions(cases, work)
            reports, issues = self._verify(chosen, odd, work)
            if self.config.verify_only:
                if not work.count("records"):  # records of a killed conversion are kept for its restart
                    works.discard(work)
                findings.refuse(issues, self._report)
                names = {name: tuple(case.case_id for case in members) for name, members in chosen.items()}
                return ConvertResult(None, None, names, tuple(issues))
            split, chosen, reports = self._usable(split, chosen, cases, reports, issues)
            kinds = self._kinds()
            fingerprint = self._fingerprint(chosen, reports)
            window, plan_files = self._plan(fingerprint)
            if self._kinds() != kinds:
                self.report("note: the cases are verified again with the planned normalisation")
                reports, issues = self._verify(chosen, odd, work)
                split, chosen, reports = self._usable(split, chosen, cases, reports, issues)
                fingerprint = self._fingerprint(chosen, reports)
            while True:
                try:
                    return self._convert(work, split, chosen, reports, issues, fingerprint, window, plan_files)
                except pipeline.CasesFailed as error:
                    if not self.config.skip_bad_cases:
                        raise
                    failed = self.privacy.findings(error.findings)
                    self.report(findings.table(failed))
                    split, chosen, reports = self._usable(split, chosen, cases, reports, failed)
                    issues = [*issues, *failed]

    def _kinds(self) -> dict[str, str]:
        return {name: normalisation.kind for name, normalisation in self.settings.normalisation.items()}

    def _verify(
        self, chosen: Mapping[str, Sequence[CaseFiles]], odd: Sequence[Finding], work: WorkFolder
    ) -> tuple[dict[str, CaseReport], list[Finding]]:
        """Verifies all cases and reports the findings together with `odd`, the findings about other files."""
        reports = self._look(chosen, work)
        issues = [*odd, *(finding for report in reports.values() for finding in report.findings)]
        issues = self.privacy.findings([*issues, *across(chosen, reports)])
        self._report_findings(issues, len(reports))
        return reports, issues

    def _usable(self, split, chosen, cases: Sequence[CaseFiles], reports, issues: Sequence[Finding]):
        """Split, cases and reports without the cases that have an error.

        Raises:
            UserError: a case has an error, and --skip_bad_cases is not set.
        """
        if not self.config.skip_bad_cases:
            findings.refuse(issues, self._report)
            return split, chosen, reports
        bad = set(findings.bad_cases(issues))
        if bad:
            self.report(f"note: skipped because of errors: {', '.join(sorted(bad))}")
            split = splits.without(split, bad, cases)
            chosen = {name: [case for case in members if case.case_id not in bad] for name, members in chosen.items()}
            reports = {name: report for name, report in reports.items() if name not in bad}
        return split, chosen, reports

    def _cases(self, options: LayoutOptions) -> list[CaseFiles]:
        cases = self.layout.find(self.source, self.settings.modalities, options)
        if self.config.label_on:
            others = self.layout.find(self.source, [self.config.label_on], options)
            drawn_on = {case.case_id: case.images.get(self.config.label_on) for case in others}
            cases = [dataclasses.replace(case, label_on=drawn_on.get(case.case_id)) for case in cases]
        others = [case.label for case in cases if case.label and not getattr(case.label, "rois", None)]
        if self.config.label_rois and others:
            raise UserError(
                "--label_rois is for labels in DICOM-SEG and RTSTRUCT, got another label",
                path=others[0].path,
                remedy="Pass --labels for label maps",
            )
        cases = [case.limited(self.config.max_voxels) for case in cases]
        self.report(self.privacy.text(f"{self.source}: {self.layout.describe(self.source, options)}"))
        cases = self.privacy.rename(cases)
        if self.privacy.hides:
            path = self.privacy.path(str(self.privacy.map_file))
            self.report(f"cases have pseudonyms; {path} has the name of each: keep that file secret")
        return cases

    def _oddities(self, options: LayoutOptions) -> list[Finding]:
        """Findings about the input outside of its cases, such as files that belong to no case."""
        if not hasattr(self.layout, "oddities"):
            return []
        odd = self.layout.oddities(self.source, self.settings.modalities, options)
        return [Finding.of(oddity.code, oddity.problem, file=oddity.path, remedy=oddity.remedy) for oddity in odd]

    def _partitions(self, cases: Sequence[CaseFiles], work: WorkFolder):
        """The split, and the cases by partition. With --verify_only and without a split, all cases are labelled."""
        try:
            split, origin = choose_split.choose(
                self.config,
                cases,
                self.source,
                self.settings.modalities,
                lesion_ml=lambda pool: self._lesion_ml(pool, work),
                privacy=self.privacy,
                report=self.report,
            )
        except choose_split.NoSplit:
            if not self.config.verify_only:
                raise
            self.report("there is no split: all labels are verified")
            return None, {"labelled": list(cases)}
        chosen, left_out = splits.cases_by_partition(split, cases, source=self.source)
        self.report(f"split from {origin}")
        self.report(choose_split.unused_labels(chosen))
        if split[splits.EXCLUDED]:
            self.report(f"note: excluded by the split: {', '.join(split[splits.EXCLUDED])}")
        if left_out:
            self.report(f"note: not in the split and left out: {', '.join(left_out)}")
        return split, chosen

    def _lesion_ml(self, cases: Sequence[CaseFiles], work: WorkFolder) -> dict[str, float]:
        reports = self._look({"labelled": cases}, work)
        return {name: report.label["volume_ml"] for name, report in reports.items() if report.label}

    def _jobs(self, chosen: Mapping[str, Sequence[CaseFiles]], work: WorkFolder) -> list[CaseJob]:
        return dataset_writer.jobs_of(
            chosen,
            self.settings,
            work,
            cases_per_shard=self.config.cases_per_shard,
            preview=self.config.preview,
        )

    def _look(self, chosen, work: WorkFolder) -> dict[str, CaseReport]:
        return pipeline.look_at(self._jobs(chosen, work), self.runner, work)

    @property
    def _report(self) -> pathlib.Path:
        return pathlib.Path(self.config.report) if self.config.report else self._default_report

    @property
    def _default_report(self) -> pathlib.Path:
        return self.target.beside(f".{findings.FILE_NAME}")

    def _verify_json(self, issues: Sequence[Finding], cases: int) -> dict:
        return findings.as_json(issues, cases=cases, command=self._provenance["command"])

    @property
    def _provenance(self) -> dict:
        facts = provenance(self.config, with_places=not self.privacy.hides)
        return {**facts, "command": self.privacy.text(facts["command"])}

    def _report_findings(self, issues: Sequence[Finding], cases: int) -> None:
        self.report(findings.summary(issues, cases=cases))
        if issues:
            self.report(findings.table(issues))
        stops = findings.errors(issues) and not self.config.skip_bad_cases
        if self.config.report or self.config.verify_only or stops:
            atomic_files.write_json(self._report, self._verify_json(issues, cases))
            self.report(f"all findings: {self._report}")

    def _convert(
        self,
        work: WorkFolder,
        split,
        chosen,
        reports: Mapping[str, CaseReport],
        issues,
        fingerprint,
        window,
        plan_files,
    ) -> ConvertResult:
        jobs = self._jobs(chosen, work)
        if not jobs:
            raise UserError("no case is left to convert", path=self.source, remedy="Correct the cases, or the split")
        entries, changed = pipeline.make_shards(jobs, self.runner, work)
        for finding in changed:
            self.report(f"note: {finding.problem}")
        issues = [*issues, *changed]
        info = dataset_writer.describe(jobs, entries, self.settings, layout=self.layout.NAME, window=window)
        dataset_writer.require_classes(info)
        files = {
            splits.FILE_NAME: split.to_json(),
            findings.FILE_NAME: self._verify_json(issues, len(reports)),
            fingerprints.FILE_NAME: fingerprint.to_json(),
            case_cards.FILE_NAME: case_cards.as_json([self._card(job, reports[job.case.case_id]) for job in jobs]),
            **plan_files,
        }
        pictures = [job.preview for job in jobs if job.preview]
        if pictures:
            pictures.append(self._preview_page(work, jobs, issues))
        dataset_writer.complete(info, files, pictures, **self._provenance)
        self.target.publish(work)
        with contextlib.suppress(OSError):
            self._default_report.unlink()  # of an earlier attempt that failed; the dataset contains its own report
        counts = ", ".join(f"{name} {len(info.partitions[name])}" for name in PARTITIONS)
        shards = f"{len(info.shard_sha256)} shard{'s' * (len(info.shard_sha256) != 1)}"
        lines = [f"{self.target.name}: {counts} cases in {shards}, data hash {info.data_hash[:12]}"]
        if plan_files:
            lines.append(f"flags of training: {', '.join(plan_files)} in {self.target.name}")
        for name in ("labelled", "validation"):
            if not info.partitions[name]:
                lines.append(f"note: no case is in the partition '{name}', which training needs")
        names = {name: tuple(case.case_id for case in members) for name, members in info.partitions.items()}
        return ConvertResult(self.target.name, info.data_hash, names, tuple(issues), "\n".join(lines))

    def _fingerprint(self, chosen, reports: Mapping[str, CaseReport]) -> fingerprints.Fingerprint:
        """The fingerprint of all cases but the test cases (unless all are test cases), with labelled masks only."""
        labelled = {case.case_id for case in chosen.get("labelled", ())}
        tested = {case.case_id for case in chosen.get("test", ())}
        return fingerprints.fingerprint(
            [
                report if name in labelled else dataclasses.replace(report, label=None)
                for name, report in reports.items()
                if name not in tested or tested >= set(reports)
            ]
        )

    def _card(self, job: CaseJob, report: CaseReport) -> case_cards.Card:
        span = job.case.spans[-1] if job.case.spans else 0
        return statistics.card(report, partition=job.partition, span=span, modalities=self.settings.modalities)

    def _plan(self, fingerprint: fingerprints.Fingerprint) -> tuple[int | None, dict[str, str]]:
        """With --plan=auto, chooses the settings that the user did not give.

        Returns:
            The planned window, and the texts of flagfiles by name; None and {} without a plan.
        """
        if self.config.plan == "none":
            return None, {}
        self.report(fingerprint.table())
        given = ["spacing_mm"] if "spacing_mm" in configuration.given(self.config) else []
        given += [f"normalisation={text.partition('=')[0]}" for text in self.config.normalisation]
        plan = plans.plan(fingerprint, self.settings, given, window=self.config.window)
        for reason in plan.reasons:
            self.report(f"plan: {reason}")
        self.settings = plan.settings
        patches = plan_patches(fingerprint, self.settings)
        reason, patches = (patches, None) if isinstance(patches, str) else (patches.reason, patches)
        self.report(f"plan: {reason}")
        return plan.window, flagfiles(plan, patches)

    def _preview_page(self, work: WorkFolder, jobs: Sequence[CaseJob], issues: Sequence[Finding]) -> str:
        from semicml_tf.conversion.preview.page import write_page

        name = f"{dataset_writer.PREVIEW}/index.html"
        write_page(work.dataset / name, jobs, issues)
        return name


def command_line(config: ConvertConfig, *, with_places: bool = True) -> str:
    """The command line of a conversion, with all given options that change the output.

    Args:
        config: options of the conversion.
        with_places: whether to include options with local paths.
    """
    hidden = (*WITHOUT_EFFECT, *(() if with_places else WITH_PATHS))
    lines = as_flags(config, [name for name in given(config) if name not in hidden])
    return " ".join(["python -m semicml_tf.convert", *map(_as_typed, lines)])


def _as_typed(argument: str) -> str:
    """The argument quoted for a shell, without splitting a name, so that a redactor recognises the name."""
    return f'"{argument}"' if "'" in argument else shlex.quote(argument)


def provenance(config: ConvertConfig, *, with_places: bool = True) -> dict:
    """Command, source and versions for `dataset.json`; no part of the data's hash."""
    return {
        "command": command_line(config, with_places=with_places),
        **({"source": str(pathlib.Path(config.input).resolve())} if with_places else {}),
        "versions": versions(*_DISTRIBUTIONS),
    }
