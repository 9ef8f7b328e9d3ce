"""The artifact on disk: one model with everything that is needed to run, check and continue it.

A bundle is a folder, or the same folder in one ``.zip``::

    manifest.json          what it is: network, classes, preprocessing, and every file with size and sha256
    model.onnx             the default runtime file; other formats lie beside it
    weights.safetensors    what training continues from
    reference.safetensors  a few images as JPEG bytes, their pixels, and the right logits for them

**Reading** trusts nothing. ``Bundle.open`` checks the manifest against its own digest, its names, shapes and
labels against each other, and the size of every file. The content of a file is checked when it is handed out
(``BundleFile.read`` and ``BundleFile.path``), so that loading pays for the one file it uses; ``Bundle.check``
checks them all. Files that the manifest does not list are never touched, symbolic links are never followed,
and of an archive nothing is unpacked but listed files whose content verified. What does not verify is a
``BundleError`` of one sentence, and nothing of it is run.

**Writing** is atomic: a complete folder is built beside the target, flushed to the disk, and renamed into
its place. The version before it is set aside under a fixed name for the moment between two renames; if the
process is killed exactly there, ``Bundle.open`` finds it, and the next writer puts it back.
"""

from ghostclas.bundle.manifest import (
    MANIFEST,
    REFERENCE,
    WEIGHTS,
    FileEntry,
    FileParity,
    Manifest,
    OutputRole,
    Precision,
    TensorSpec,
)
from ghostclas.bundle.reader import Bundle, BundleFile, default_bundle_path
from ghostclas.bundle.reference import Reference
from ghostclas.bundle.writer import (
    FileContent,
    add_files,
    check_target,
    copy_bundle,
    pack,
    record_metric,
    revise_manifest,
    update_manifest,
    write_bundle,
)

__all__ = [
    "MANIFEST",
    "REFERENCE",
    "WEIGHTS",
    "Bundle",
    "BundleFile",
    "FileContent",
    "FileEntry",
    "FileParity",
    "Manifest",
    "OutputRole",
    "Precision",
    "Reference",
    "TensorSpec",
    "add_files",
    "check_target",
    "copy_bundle",
    "default_bundle_path",
    "pack",
    "record_metric",
    "revise_manifest",
    "update_manifest",
    "write_bundle",
]
