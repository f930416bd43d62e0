"""An app with the Langfuse SDK that sends through Sidelight: only its base URL is another one.

pip install langfuse
sidelight up --config sidelight.yaml &
export LANGFUSE_BASE_URL=http://127.0.0.1:4318
export LANGFUSE_PUBLIC_KEY=pk-lf-app LANGFUSE_SECRET_KEY=sk-lf-of-this-app
python app.py
"""

from __future__ import annotations

from langfuse import Langfuse


def main() -> None:
    """Record one question and its answer."""
    client = Langfuse()
    with client.start_as_current_observation(name="question", as_type="span") as root:
        root.update(input="What is 2 + 2?", output="4")
        with client.start_as_current_observation(
            name="answer", as_type="generation", model="tiny", input="2 + 2", output="4"
        ):
            pass
        print(root.trace_id)
    client.shutdown()


if __name__ == "__main__":
    main()
