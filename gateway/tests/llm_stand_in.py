"""A real llm service without a model: the user's last message is a script, see `llm_script`.

Run as a process, `python -m llm_stand_in`, it serves on real sockets what the gateway calls. The
rest of it is in `llm_stand_in_app`, which is imported once the process is set up.
"""

from pydantic_settings import SettingsConfigDict

import meshkit.run
from meshkit.settings import MeteredSettings


class Settings(MeteredSettings):
    model_config = SettingsConfigDict(env_prefix="MESH_LLM_")

    model_name: str = "llm"
    adapters: tuple[str, ...] = ("llm-terse",)


if __name__ == "__main__":
    meshkit.run.main(Settings, "llm_stand_in_app:app")
