"""The steps of the first run: where one is, and what comes next. Settings pages are steps when they are opened as such."""

from dataclasses import dataclass

from flask import request


@dataclass(frozen=True)
class OnboardingStep:
    """One step: its key, what it is called, and its page."""

    key: str
    title: str
    url: str

    @property
    def address(self) -> str:
        """The page, opened as a step."""
        return f"{self.url}?step={self.key}"


STEPS = (
    OnboardingStep("who", "Who you are", "/desk/settings/practice"),
    OnboardingStep("sender", "What inboxes show", "/desk/settings/sender"),
    OnboardingStep("mail", "How mail leaves", "/desk/settings/mail"),
    OnboardingStep("look", "How letters look", "/desk/settings/look"),
    OnboardingStep("read", "Read your letters", "/desk/start/letters"),
    OnboardingStep("series", "Send yourself the series", "/desk/start/series"),
    OnboardingStep("live", "Let it begin", "/desk/start/"),
)


@dataclass(frozen=True)
class CurrentStep:
    """The step that a page is opened as."""

    step: OnboardingStep
    number: int
    before: OnboardingStep | None
    after: OnboardingStep | None

    @property
    def of(self) -> int:
        """How many steps there are."""
        return len(STEPS)


def at(key: str) -> CurrentStep | None:
    """A step by its key."""
    number = next((n for n, step in enumerate(STEPS) if step.key == key), None)
    if number is None:
        return None
    following = STEPS[number + 1] if number + 1 < len(STEPS) else None
    return CurrentStep(STEPS[number], number + 1, STEPS[number - 1] if number else None, following)


def here() -> CurrentStep | None:
    """The step this page is opened as; None outside the first run."""
    return at(request.values.get("step", ""))


def after() -> str:
    """Where the step after this one is; empty outside the first run."""
    now = here()
    return now.after.address if now and now.after else ""


def kept(url: str) -> str:
    """A page, opened as the step that this one is opened as."""
    now = here()
    return f"{url}{'&' if '?' in url else '?'}step={now.step.key}" if now else url
