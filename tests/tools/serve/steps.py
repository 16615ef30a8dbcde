"""Steps of an answer without a network, which wait as long as a test wants."""

import threading
from collections.abc import Sequence

from tools.predict.predictor import Answer
from tools.serve.answering import Answered, Opened, Question, Seen


class Steps:
    """Answers once it may; pictures are as large as their names say."""

    def __init__(self) -> None:
        self.may_open = threading.Event()
        self.may_compute = threading.Event()
        self.opening: list[str] = []
        self.computing = threading.Event()

    def pixels(self, question: Question) -> int:
        """Return the number that its name is."""
        return int(question.file) if question.file.isdecimal() else 1

    def open(self, question: Question) -> Opened:
        """Wait, if it is large."""
        self.opening.append(question.file)
        if self.pixels(question) > 1:
            assert self.may_open.wait(30)
        return Opened(question.file, question.data, False, Answer(question), None)

    def compute(self, pictures: Sequence[Opened]) -> list[Seen]:
        """Wait, and fail if somebody asks for that."""
        self.computing.set()
        assert self.may_compute.wait(30)
        if any(picture.data == b"fail" for picture in pictures):
            raise RuntimeError("the secret of the server")
        return [Seen(picture, picture.answer) for picture in pictures]

    def tell(self, seen: Seen) -> Answered:
        """Tell nothing."""
        return Answered("{}\n", {})
