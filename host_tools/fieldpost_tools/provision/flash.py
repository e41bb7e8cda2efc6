"""Images for one-step flashing: everything that provisioning would bring a fresh board."""

from pathlib import Path

from fieldpost_tools import image
from fieldpost_tools.errors import OutputError
from fieldpost_tools.provision import content, rom, slot
from fieldpost_tools.provision.job import release_for
from fieldpost_tools.release import MANIFEST

LITTLEFS, ROMFS = "littlefs.img", "romfs.img"


def build(board, config, form, folder):
    """Write the images of ``board`` into a folder; ``[(path, bytes), ...]``.

    A littlefs image with the release in slot a, bootstrap and, if there is one, the
    configuration; and a ROMFS image, where the board has a partition for it. With the form
    "romfs" the release is in that one only. Raises ToolError.
    """
    release = release_for(board, form)
    files = dict(content.bootstrap())
    if config is not None:
        made = content.configuration(config)
        files |= made.kept | made.switched
    if form != "romfs":
        files |= _slot(release)
    contents = {LITTLEFS: image.littlefs_image(board, files)}
    if board.romfs or form == "romfs":
        contents[ROMFS] = rom.image(release)
        image.check_romfs(contents[ROMFS], board.romfs and board.romfs.bytes, board.id)
    try:
        content.write(folder, contents)
    except OSError as error:
        raise OutputError(f"{folder}: {(error.strerror or str(error)).lower()}") from None
    return [(Path(folder, name), len(made)) for name, made in contents.items()]


def _slot(release):
    name = slot.NAMES[0]
    files = {f"{name}/{file.path}": file.content for file in release.files}
    return {**files, f"{name}/{MANIFEST}": release.manifest, "slot": slot.content(name, False)}
