"""Values of the chart that are unusual but legal, and what they render to."""

from __future__ import annotations

from typing import Any, Final, Literal

from support.helm import OPERATOR_API, POLICY_API, Object, rendered

_TEAMS: Final = ("team-a", "team-b")


def _pair(secret: str) -> dict[str, Any]:
    return {
        "public_key": {"existingSecret": secret, "key": "public-key"},
        "secret_key": {"existingSecret": secret, "key": "secret-key"},
    }


LANGFUSE_PROJECTS: Final[dict[str, Any]] = {
    "type": "langfuse",
    "url": "https://langfuse.example.com",
    **_pair("langfuse-shared"),
    "routes": [
        {"name": team, "match": {"k8s.namespace.name": team}, **_pair(f"langfuse-{team}")}
        for team in _TEAMS
    ],
}
"""Three projects of one Langfuse: two teams by namespace, and everybody else."""

_EVERY_DESTINATION: Final[list[dict[str, Any]]] = [
    LANGFUSE_PROJECTS,
    {
        "type": "phoenix",
        "url": "https://phoenix.example.com",
        "api_key": {"existingSecret": "phoenix", "key": "api-key"},
        "ca": {"existingConfigMap": "authorities", "key": "ca.crt"},
        "sample": {"share": 0.1},
    },
    {
        "type": "otlp_http",
        "name": "tempo",
        "url": "https://tempo.example.com",
        "headers": {"authorization": {"existingSecret": "tempo", "key": "authorization"}},
        "client_certificate": {
            "certificate": {"existingSecret": "tempo-tls", "key": "tls.crt"},
            "key": {"existingSecret": "tempo-tls", "key": "tls.key"},
        },
    },
    {"type": "otlp_grpc", "name": "other", "url": "http://other:4317"},
    {"type": "prometheus_remote_write", "url": "https://prometheus.example.com/api/v1/write"},
    {
        "type": "splunk_hec",
        "url": "https://splunk.example.com",
        "token": {"existingSecret": "splunk", "key": "token"},
    },
    {"type": "file", "directory": "/var/lib/sidelight/files"},
]

CASES: Final[dict[str, dict[str, Any]]] = {
    "defaults": {},
    "Langfuse projects": {"gateway": {"config": {"destinations": [LANGFUSE_PROJECTS]}}},
    "everything configured": {
        "gateway": {
            "tls": {"existingSecret": "gateway-tls", "clientAuthorities": True},
            "config": {
                "destinations": _EVERY_DESTINATION,
                "auth": {
                    "tokens": [
                        {"existingSecret": "tokens", "key": "all"},
                        {"existingSecret": "tokens", "key": "team-a", "tenant": "team-a"},
                    ]
                },
                "receivers": {
                    "otlp_http": {"max_connections": 100},
                    "zipkin": {"enabled": True},
                    "langfuse_api": {
                        "keys": [
                            {
                                "public_key": "pk-lf-1",
                                "secret_key": {"existingSecret": "app", "key": "secret"},
                            }
                        ]
                    },
                    "scrape": {"targets": [{"preset": "vllm", "url": "http://vllm"}]},
                },
                "serve": {"tokens": [{"existingSecret": "tokens", "key": "metrics"}]},
                "processors": {
                    "prices": {"existingConfigMap": "prices", "key": "prices.yaml"},
                    "content": {"hash_key": {"existingSecret": "hash", "key": "key"}},
                    "redact": {"enabled": True},
                },
                "log": {"max_bytes": 1073741824, "max_age_seconds": 86400},
            },
        },
        "injection": {"token": {"existingSecret": "sidelight-gateway"}},
    },
    "sections without content": {
        "gateway": {
            "config": {
                "destinations": [],
                "receivers": {"otlp_grpc": None, "zipkin": None},
                "auth": None,
                "processors": None,
                "serve": None,
                "log": None,
            }
        }
    },
    "no persistence": {"gateway": {"persistence": {"enabled": False, "size": "500Mi"}}},
    "a tiny volume": {"gateway": {"persistence": {"size": "100Mi"}}},
    "several pods": {
        "gateway": {
            "replicas": 3,
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "topology.kubernetes.io/zone",
                    "whenUnsatisfiable": "ScheduleAnyway",
                }
            ],
            "persistence": {"storageClass": "fast", "whenScaled": "Delete"},
        }
    },
    "IPv6": {
        "listen": "::",
        "gateway": {
            "service": {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]},
        },
    },
    "other ports": {
        "gateway": {
            "config": {
                "receivers": {"otlp_http": {"port": 14318}, "otlp_grpc": {"enabled": False}},
                "serve": {"port": 19464},
            }
        }
    },
    "scaled by CPU": {"gateway": {"autoscaling": {"kind": "hpa", "maxReplicas": 9}}},
    "scaled by KEDA": {
        "gateway": {"autoscaling": {"kind": "keda"}, "persistence": {"enabled": False}}
    },
    "long names": {
        "nameOverride": "n" * 63,
        "namespaceOverride": "other",
        "clusterDomain": "k8s.example.com",
    },
    "a name that begins with a digit": {"fullnameOverride": "9.Sidelight_gateway"},
    "labels, annotations and pull secrets": {
        "commonLabels": {"team": "ml", "example.com/cost-centre": "42"},
        "commonAnnotations": {"example.com/owner": "ml: the 'serving' team"},
        "imagePullSecrets": [{"name": "registry"}],
        "images": {
            "registry": "registry.example.com/mirror/",
            "collector": {"digest": f"sha256:{'0' * 64}"},
        },
        "gateway": {
            "podLabels": {"sidecar.istio.io/inject": "false"},
            "podAnnotations": {"example.com/restarted": "true"},
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "tolerations": [{"key": "cpu-only", "operator": "Exists", "effect": "NoSchedule"}],
            "priorityClassName": "observability",
            "serviceAccount": {"create": False, "name": "existing"},
            "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
            "volumes": [{"name": "extensions", "configMap": {"name": "extensions"}}],
            "volumeMounts": [{"name": "extensions", "mountPath": "/extensions"}],
        },
    },
    "closed network": {
        "gateway": {
            "networkPolicy": {
                "from": [{"namespaceSelector": {"matchLabels": {"sidelight.dev/inject": "true"}}}],
                "egress": [
                    {"ports": [{"port": 53, "protocol": "UDP"}]},
                    {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
                ],
            }
        }
    },
    "nothing optional": {
        "gateway": {
            "networkPolicy": {"enabled": False},
            "podDisruptionBudget": {"enabled": False},
            "resources": None,
            "affinity": {"nodeAffinity": {}},
        },
        "monitoring": {"mode": "never", "dashboards": {"enabled": False}},
        "test": {"enabled": False},
    },
    "no gateway": {
        "gateway": {"enabled": False},
        "injection": {"endpoint": "https://collector.example.com:4318"},
    },
    "nothing is injected": {"injection": {"mode": "none"}, "gateway": {"enabled": False}},
    "another injection": {
        "images": {
            "registry": "registry.example.com",
            "pullPolicy": "Always",
            "instrumentation": {"tag": "1.2.3"},
        },
        "injection": {
            "volume": "copy",
            "excludedNamespaces": [],
            "imagesWithPythonPath": [],
            "environment": [
                {"name": "SIDELIGHT_CAPTURE_CONTENT", "value": "ids"},
                {"name": "SIDELIGHT_RESOURCE_ATTRIBUTES", "value": 'team="a\\b" & <c>'},
            ],
            "sidecar": {
                "resources": {"limits": {"memory": "1Gi", "cpu": "0.5"}},
                "env": [{"name": "SIDELIGHT_LOG__MAX_BYTES", "value": "1000000000"}],
            },
            "webhook": {
                "replicas": 3,
                "timeoutSeconds": 2,
                "events": False,
                "certificates": {"kind": "certManager"},
                "podDisruptionBudget": {"enabled": False},
                "networkPolicy": {"enabled": False},
            },
        },
    },
    "a supplied certificate": {
        "injection": {
            "webhook": {
                "certificates": {
                    "kind": "supplied",
                    "existingSecret": "injector",
                    "caBundle": "-----BEGIN CERTIFICATE-----\n",
                },
                "serviceAccount": {"create": False},
            }
        }
    },
    "an issuer of the cluster": {
        "injection": {
            "webhook": {
                "certificates": {
                    "kind": "certManager",
                    "issuer": {"name": "corporate", "kind": "ClusterIssuer"},
                }
            }
        }
    },
    "as a dependency of another chart": {"global": {"storageClass": "x"}, "enabled": True},
}


def made(case: str, way: Literal["policy", "webhook"] = "policy") -> list[Object]:
    """The objects of a case, in a cluster that injects in one way; rendered once a process.

    The name of the release is as long as Helm allows, and begins with what no Service may.
    """
    kubernetes, apis = {
        "policy": ("1.37", [OPERATOR_API, POLICY_API]),
        "webhook": ("1.32", [OPERATOR_API]),
    }[way]
    release = f"9.x-{'r' * 49}"
    return rendered(CASES[case], kubernetes=kubernetes, apis=apis, release=release)
