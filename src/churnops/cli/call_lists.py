"""Commands of call lists: make one, list the kept ones, show or write one."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from churnops.cli.completion import call_lists as kept_lists
from churnops.cli.completion import completing
from churnops.cli.root import MAX_NUMBER, json_option, local_table, main, settings_of, show, show_done

if TYPE_CHECKING:
    from churnops.journal.call_lists import CallList
    from churnops.project import Project

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="list.csv",
    help="Write the list to a new CSV file, which is safe to open in a spreadsheet.",
)


@main.command("call-list")
@click.option(
    "--from",
    "source",
    default="journal",
    metavar="FILE",
    help="Score the customers of this file. Default: journal, the newest score of each customer.",
)
@click.option("--budget", type=float, metavar="N", help="Total cost of the calls. Default: the decision policy's.")
@click.option("--contacts", type=int, metavar="N", help="Number of customers. Default: the decision policy's.")
@click.option(
    "--where",
    multiple=True,
    metavar="COLUMN=LEVEL",
    help="Only customers with this level of a category or flag. Several of one column: any of them. May be repeated.",
)
@click.option(
    "--days",
    type=int,
    default=30,
    show_default=True,
    metavar="N",
    help="Leave out customers who were contacted or listed in the last N days; 0: nobody.",
)
@click.option("--name", default="", metavar="NAME", help="Name of the list. Default: the day.")
@out_option
@json_option
@click.pass_context
def call_list(
    ctx: click.Context,
    source: str,
    budget: float | None,
    contacts: int | None,
    where: tuple[str, ...],
    days: int,
    name: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Make a list of the customers to contact: whom, why, and what to offer.

    Customers are ranked by expected profit: success rate x probability x value - cost, by the decision policy (churnops
    decision). The list ends at its budget or number of contacts, or before a call costs more than it brings. Each
    customer has up to three reasons that raise the risk, and an action: the texts `why` and `action` of columns and
    derived features in config.yaml.

    Customers who were contacted or listed in the last N days, or who are known to have left, are left out and counted.
    The list is kept. The same request on the same day shows it again: give another --name for another list.

    \b
    Examples:
      churnops call-list --contacts 100 --out monday.csv
      churnops call-list --budget 1200 --where state=OH --where state=NY --name "Ohio and New York"
      churnops call-list --from customers.csv --contacts 50
    """  # noqa: D301
    from churnops.alerting.deployed import list_health
    from churnops.decision.list_request import ListRequest
    from churnops.decision.newest import bring_up_to_date
    from churnops.project import Project
    from churnops.registry.folder import who

    settings = settings_of(ctx)
    given = {"budget": budget, "contacts": contacts, "where": _where(where), "days": days, "name": name}
    request = ListRequest.read(given)
    _check_free(out)
    file = None if source == "journal" else local_table(settings, source)
    with Project.open(settings) as project:
        bundle = project.require_deployed()
        maker = project.list_maker(bundle)
        if file is None:
            bring_up_to_date(project.engine, maker.policy)
        made, is_new = maker.make(request, health=list_health(project, bundle), by=who(), file=file)
        _show(project, made, out, as_json, is_new=is_new)


@main.command("call-lists")
@click.argument(
    "number",
    metavar="[NUMBER]",
    type=click.IntRange(1, MAX_NUMBER),
    required=False,
    shell_complete=completing(kept_lists),
)
@out_option
@json_option
@click.pass_context
def call_lists(ctx: click.Context, number: int | None, out: Path | None, as_json: bool) -> None:
    """Show the kept call lists, or the customers of one with their status.

    \b
    Examples:
      churnops call-lists                     the kept lists, newest first
      churnops call-lists 7                   the customers of list 7, with status and notes
      churnops call-lists 7 --out list.csv    write them to a file
    """  # noqa: D301
    from churnops.decision.list_text import summary
    from churnops.errors import CallListError
    from churnops.project import Project
    from churnops.screens import show_lists
    from churnops.wire import CallListsAnswer

    if out is not None and number is None:
        raise click.UsageError("--out needs the number of a list")
    _check_free(out)
    with Project.open(settings_of(ctx)) as project:
        if number is None:
            kept = project.call_lists.newest(1000)
            document = CallListsAnswer(call_lists=[summary(one) for one in kept])
            show(as_json, lambda: document.model_dump(mode="json"), lambda: show_lists(kept))
            return
        one = project.call_lists.get(number)
        if one is None:
            raise CallListError(f"there is no call list {number}: type `churnops call-lists`")
        _show(project, one, out, as_json)


def _show(project: "Project", made: "CallList", out: Path | None, as_json: bool, is_new: bool | None = None) -> None:
    """Show a list and its customers, and write them to a file; `is_new` is None for a list that is only opened."""
    from churnops.decision.list_text import answer, as_csv
    from churnops.files import write_flushed
    from churnops.screens import show_list

    shown = answer(made, project.call_lists.customers(made.id), project.contacts.of_list(made.id))
    if out is not None:
        write_flushed(out, as_csv(shown.customers, project.settings.table))
    more = {"out": str(out) if out else None} | ({} if is_new is None else {"new": is_new})
    show_done(as_json, lambda: shown.model_dump(mode="json") | more, lambda: show_list(made, shown, out, is_new=is_new))


def _where(given: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the levels of each column, from texts such as `state=OH`."""
    levels: dict[str, list[str]] = {}
    for text in given:
        column, equals, level = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not COLUMN=LEVEL, such as state=OH", param_hint="--where")
        levels.setdefault(column.strip(), []).append(level.strip())
    return levels


def _check_free(out: Path | None) -> None:
    """Refuse a file that exists, because a list may hold notes that are in no other place, or without a folder."""
    if out is not None and out.exists():
        raise click.BadParameter(f"{out} exists: give another name", param_hint="--out")
    if out is not None and not out.parent.is_dir():
        raise click.BadParameter(f"there is no folder {out.parent}", param_hint="--out")
