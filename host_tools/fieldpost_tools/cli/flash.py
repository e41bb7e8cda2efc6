"""``fieldpost flash``: put MicroPython on a board."""

import shlex

import click


@click.command()
@click.argument("port", required=False)
@click.option("--board", "name", required=True, metavar="BOARD", help="See: fieldpost board list.")
@click.option("--firmware", required=True, metavar="FILE", help="The official firmware's file.")
@click.option("--image", metavar="FILE", help="littlefs image of the board's files.")
@click.option("--romfs", metavar="FILE", help="Image of the ROMFS partition, if it has one.")
@click.option("--erase", is_flag=True, help="Erase the whole flash first, files too.")
@click.option("--drive", metavar="FOLDER", help="Where the drive of a UF2 bootloader is mounted.")
@click.option("--dry-run", is_flag=True, help="Check the files and print the command only.")
def command(port, name, firmware, image, romfs, erase, drive, dry_run):
    """Put MicroPython on the board at the serial device PORT.

    Every file is checked before anything is written: is it for that chip, and does it fit? A
    Raspberry Pi Pico has no PORT while its bootloader runs, but a --drive.
    """
    from fieldpost_tools import boards, flash
    from fieldpost_tools.errors import InputError

    board = boards.load(name)
    if board.flashing is None:
        raise InputError("--board", name, "a board with a chip")
    if board.flashing.tool == "uf2":
        if image or romfs or erase:
            raise click.UsageError("a UF2 drive takes the firmware only")
        _copy(board, firmware, drive, dry_run)
        return
    if not port:
        raise click.UsageError("which PORT is the board at?")
    if drive:
        raise click.UsageError("--drive is for boards with a UF2 bootloader")
    line = flash.command(board, port, flash.plan(board, firmware, image, romfs), erase)
    if dry_run:
        click.echo(shlex.join(line))
    else:
        flash.run(board, line)


def _copy(board, firmware, drive, dry_run):
    from fieldpost_tools import flash

    if drive and not dry_run:
        click.echo(f"copied to {flash.copy_uf2(board, firmware, drive)}; the board starts it")
        return
    flash.check_uf2(board, firmware)
    where = drive or f"--drive FOLDER, where the drive {board.flashing.volume} is mounted"
    click.echo(f"{firmware} is for this board")
    click.echo(f"hold BOOTSEL while you plug the board in; then copy it to {where}")
