"""What is sent to a database, whether SQLAlchemy ran it or the driver alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from sqlalchemy import event

from webhook_app.store.driven import Driven
from webhook_app.store.engine import Store


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    """The texts of the statements that this process runs meanwhile, in their order."""
    sent: list[str] = []
    plain = Driven._answer

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        sent.append(statement)

    def answer(self: Driven, *arguments: Any) -> Any:
        sent.append(self._text)
        return plain(self, *arguments)

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        with mock.patch.object(Driven, "_answer", answer):
            yield sent
    finally:
        event.remove(store.engine, "before_cursor_execute", note)
