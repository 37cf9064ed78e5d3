"""The command line's application, to which the commands add themselves."""

import typer

app = typer.Typer(
    name="se-probe",
    help="Record and analyse the channel gates of squeeze-and-excitation, selective-kernel and split-attention "
    "networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
