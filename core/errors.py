"""The error tree, ordered by what the reader of the error has to do.

NjordError
├── FatalError               stop this process and call a human
│   ├── ConfigError          a file, a key, a value: named, with the allowed values
│   ├── JournalWriteError    the disk refused: nothing leaves the process until it accepts again
│   ├── LedgerCorruptError   the chain is broken: never continue on top of it
│   ├── LedgerReplacedError  an upstream daemon goes on with another ledger than the one we processed
│   └── FencedError          another copy of this daemon owns the ledger
├── RejectedError            skip this message, count it, go on (also a ValueError)
│   ├── ContractError        a field breaks its contract
│   ├── CodecError           bytes that are no message
│   └── UnknownSymbolError   no instrument of that name
├── RetryError               try again later, with a limit
│   ├── BusUnavailableError  Redis does not answer
│   ├── BusGapError          Redis answers, but lacks what it was sent before
│   └── FeedError            the market data source does not answer
└── OutcomeUnknownError      it may or may not have happened: look it up by its id, never repeat it
"""

from __future__ import annotations

from pathlib import Path


class NjordError(Exception):
    """Base of every error this project raises on purpose."""


class FatalError(NjordError):
    """Stop this process and call a human."""


class ConfigError(FatalError):
    """The configuration cannot be used; the text names file, key, what was expected and what came."""


class JournalWriteError(FatalError):
    """A line could not be made durable. Nothing that depends on it may leave the process."""

    def __init__(self, path: Path, cause: OSError) -> None:
        self.path = path
        self.cause = cause
        super().__init__(
            f"cannot write {path}: {cause.strerror or cause}; expected a writable file system with free space. "
            f"Free space or mend permissions under {path.parent}, then start again: nothing acknowledged is lost."
        )


class LedgerCorruptError(FatalError):
    """A ledger's hash chain does not hold; the text names the first line that is wrong."""

    def __init__(self, path: Path, line: int, detail: str) -> None:
        self.path = path
        self.line = line
        super().__init__(
            f"{path}:{line}: {detail}. The ledger was changed by something other than its daemon. "
            f"Restore {path.name} from a backup, or move it aside to start from an empty one; "
            f"it is not continued as it stands."
        )


class LedgerReplacedError(FatalError):
    """Entries come from another ledger than those processed before: the producer's file was deleted or replaced."""


class FencedError(FatalError):
    """Another process holds the lock of this ledger, or has claimed its stream since."""


class RejectedError(NjordError, ValueError):
    """Skip this message, count it, go on."""


class ContractError(RejectedError):
    """A field breaks its contract; the text names field, expectation and value."""


class CodecError(RejectedError):
    """Bytes that are no message of the expected contract."""


class UnknownSymbolError(RejectedError):
    """No instrument of that name is configured."""


class RetryError(NjordError):
    """Try again later, with a limit."""


class BusUnavailableError(RetryError):
    """Redis cannot be reached."""


class BusGapError(RetryError):
    """A stream in Redis lacks what comes before a new entry: it was emptied, or came back from an older state."""


class FeedError(RetryError):
    """The market data source cannot be reached or went silent."""


class OutcomeUnknownError(NjordError):
    """An effect may or may not have happened. Look it up by its id; never repeat it blindly."""
