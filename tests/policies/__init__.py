"""Policies on file, and libraries that are sound or broken in one place."""

from pathlib import Path

from service.settings import load_settings

_settings = load_settings()
LIBRARY: Path = _settings.policies_dir
PAYERS: Path = _settings.payers_file
SOUND = Path(__file__).parent / "sound"
BROKEN = Path(__file__).parent / "broken"
