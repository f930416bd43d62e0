"""Pods and namespaces of any form, for hypothesis: what injection looks at, right and wrong."""

from __future__ import annotations

from hypothesis import strategies as st

NAMES = st.sampled_from(["vllm", "main", "log", "sidelight", "sidelight-copy"])
IMAGES = st.sampled_from(
    [
        "vllm/vllm-openai:v0.33.0",
        "nginx",
        "reg.example.com:5000/vllm/router:1",
        "ghcr.io/x/vllm-cpu@sha256:00",
        "quay.io/ascend/vllm-ascend:v1",
        "otel/opentelemetry-collector:1",
    ]
)
WORDS = st.lists(
    st.sampled_from(
        [
            "vllm",
            "serve",
            "bench",
            "exec vllm serve x",
            "/usr/bin/vllm",
            "python3 -m vllm.entrypoints.openai.api_server",
            "vllm.entrypoints.openai.api_server",
            "vllm\u00a0serve",
            "vllm\n",
            "a\nvllm\tserve\n",
        ]
    ),
    max_size=3,
)
SOURCES = st.sampled_from(
    [
        {"configMapKeyRef": {"name": "a", "key": "b"}},
        {"secretKeyRef": {"name": "a", "key": "b", "optional": True}},
        {"fieldRef": {"fieldPath": "metadata.name"}},
    ]
)
VARIABLE_NAMES = st.sampled_from(
    ["PYTHONPATH", "VLLM_PLUGINS", "SIDELIGHT_POD_NAME", "OTHER", "SIDELIGHT_PYTHON_PATH"]
)
VARIABLES = st.one_of(
    st.fixed_dictionaries(
        {"name": VARIABLE_NAMES},
        optional={"value": st.sampled_from(["", "/app", "a,b", "a,sidelight", "é\n\"'"])},
    ),
    st.fixed_dictionaries({"name": VARIABLE_NAMES, "valueFrom": SOURCES}),
)
CONTAINERS = st.fixed_dictionaries(
    {"name": NAMES, "image": IMAGES},
    optional={
        "command": WORDS,
        "args": WORDS,
        "env": st.lists(VARIABLES, max_size=3),
        "envFrom": st.just([{"configMapRef": {"name": "a"}}]),
        "ports": st.lists(
            st.fixed_dictionaries({"containerPort": st.sampled_from([8000, 4318])}), max_size=1
        ),
        "volumeMounts": st.lists(
            st.fixed_dictionaries({"mountPath": st.sampled_from(["/data", "/sidelight/x"])}),
            max_size=1,
        ),
    },
)
CHOICES = st.fixed_dictionaries(
    {}, optional={"sidelight.dev/inject": st.sampled_from(["true", "false", "yes"])}
)
ANNOTATIONS = st.fixed_dictionaries(
    {},
    optional={
        "sidelight.dev/inject": st.sampled_from(["true", "false"]),
        "sidelight.dev/container": st.sampled_from(["vllm", "main"]),
        "sidelight.dev/python-path": st.sampled_from(["", "/app"]),
        "sidelight.dev/sidecar-first": st.sampled_from(["true", "no"]),
        "sidelight.dev/injected": st.just("0.1.0"),
    },
)
ANY = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {}, optional={"labels": CHOICES, "annotations": ANNOTATIONS}
        ),
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(CONTAINERS, max_size=3)},
            optional={
                "initContainers": st.lists(CONTAINERS, max_size=2),
                "volumes": st.lists(
                    st.fixed_dictionaries({"name": st.sampled_from(["sidelight", "data"])}),
                    max_size=1,
                ),
                "hostNetwork": st.booleans(),
                "securityContext": st.fixed_dictionaries(
                    {}, optional={"runAsUser": st.sampled_from([0, 1000])}
                ),
                "resources": st.just({"requests": {"cpu": "1"}}),
                "os": st.fixed_dictionaries({"name": st.sampled_from(["linux", "windows"])}),
            },
        ),
    }
)
# Most pods above are refused for one thing or another; these ask, and run vLLM.
SERVERS = st.fixed_dictionaries(
    {"name": st.just("server"), "image": st.just("vllm/vllm-openai")},
    optional={
        "env": st.lists(VARIABLES, max_size=3),
        "envFrom": st.just([{"configMapRef": {"name": "a"}}]),
        "volumeMounts": st.just([{"name": "a", "mountPath": "/data"}]),
        "resources": st.sampled_from(
            [{}, {"limits": {"cpu": "1"}}, {"limits": {"ephemeral-storage": "9Gi"}}]
        ),
    },
)
OTHERS = st.lists(st.fixed_dictionaries({"name": st.just("log"), "image": st.just("nginx")}))
ASKING = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"labels": st.just({"sidelight.dev/inject": "true"})},
            optional={
                "annotations": st.fixed_dictionaries(
                    {},
                    optional={
                        "sidelight.dev/python-path": st.sampled_from(["", "/app"]),
                        "sidelight.dev/sidecar-first": st.just("true"),
                    },
                )
            },
        ),
        "spec": st.fixed_dictionaries(
            {"containers": st.tuples(OTHERS, SERVERS, OTHERS).map(lambda t: [*t[0], t[1], *t[2]])},
            optional={
                "initContainers": OTHERS,
                "volumes": st.just([{"name": "data"}]),
                "securityContext": st.sampled_from([{}, {"runAsUser": 0}, {"runAsUser": 1000}]),
                "resources": st.just({"requests": {"cpu": "1"}}),
            },
        ),
    }
)
PODS = st.one_of(ANY, ASKING)
NAMESPACE_LABELS = st.fixed_dictionaries(
    {},
    optional={
        "sidelight.dev/inject": st.sampled_from(["true", "false"]),
    },
)
