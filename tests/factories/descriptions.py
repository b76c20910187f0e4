"""Descriptions and failures as rows of a store."""

from mien.types import Description, Failure, Finish

__all__ = ["description", "failure"]


def description(key: str, text: str = "calm", finish: Finish = "stop", subject_id: str = "s") -> Description:
    return Description(
        key=key, subject_id=subject_id, text=text, prompt_id="paper", engine="fake@1", finish=finish
    )


def failure(key: str, error: str = "refused", attempts: int = 1) -> Failure:
    return Failure(key=key, subject_id="s", error=error, retryable=False, attempts=attempts)
