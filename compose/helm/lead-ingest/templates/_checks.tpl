{{- /* What the schema cannot say: values that do not go together. Each ends the rendering with one sentence. */ -}}

{{- define "lead-ingest.checks" -}}
{{- $v := .Values -}}
{{- range $name, $each := dict "api.hpa" $v.api.hpa "worker.hpa" $v.worker.hpa "worker.keda" $v.worker.keda -}}
{{- if gt (int $each.minReplicas) (int $each.maxReplicas) -}}
{{- fail (printf "%s.minReplicas is %d, more than its maxReplicas, %d." $name (int $each.minReplicas) (int $each.maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- $byProcessor := dict "api" $v.api.hpa.enabled "worker" (eq $v.worker.autoscaler "hpa") -}}
{{- range $name, $component := dict "api" $v.api "worker" $v.worker -}}
{{- if and (get $byProcessor $name) (not (dig "resources" "requests" "cpu" "" $component)) -}}
{{- fail (printf "%s.resources.requests.cpu is empty: the HPA measures the processor against it." $name) -}}
{{- end -}}
{{- end -}}
{{- if $v.trial.enabled -}}
{{- $other := or $v.redis.tls $v.redis.existingSecret (ne (int $v.redis.shards) 1) (ne (int $v.redis.database) 0) -}}
{{- $other = or $other $v.broker.hosts $v.mysql.existingSecret $v.mysql.readHost $v.mysql.caSecret (ne (int $v.mysql.port) 3306) -}}
{{- if or (ne $v.redis.form "single") $other -}}
{{- fail "trial.enabled brings a Redis and a MySQL of its own: leave redis, broker and mysql as they are." -}}
{{- end -}}
{{- else -}}
{{- if not $v.redis.hosts -}}
{{- fail "redis.hosts is empty: name the queue's Redis, its Sentinels or nodes of its Cluster, or set trial.enabled." -}}
{{- end -}}
{{- if and (eq $v.redis.form "cluster") (not $v.broker.hosts) -}}
{{- fail "broker.hosts is empty: a Redis Cluster needs a broker of its own, because Celery cannot use a Cluster." -}}
{{- end -}}
{{- if and (ne $v.redis.form "cluster") (gt (int $v.redis.shards) 1) -}}
{{- fail (printf "redis.shards is %d: more than one are for redis.form cluster." (int $v.redis.shards)) -}}
{{- end -}}
{{- range $of := list "redis" "broker" -}}
{{- $server := index $v $of -}}
{{- if and (eq $server.form "single") (gt (len $server.hosts) 1) -}}
{{- fail (printf "%s.hosts names %d servers, and %s.form is single." $of (len $server.hosts) $of) -}}
{{- end -}}
{{- if and $server.tls (ne $server.form "single") -}}
{{- fail (printf "%s.tls is for a single Redis: the service speaks no TLS to Sentinels and Clusters." $of) -}}
{{- end -}}
{{- if and $server.caSecret (not $server.tls) -}}
{{- fail (printf "%s.caSecret is for %s.tls, which is off." $of $of) -}}
{{- end -}}
{{- end -}}
{{- include "lead-ingest.checkPasswords" (dict "root" . "of" "redis") -}}
{{- if $v.broker.hosts -}}
{{- include "lead-ingest.checkPasswords" (dict "root" . "of" "broker") -}}
{{- end -}}
{{- include "lead-ingest.checkPasswords" (dict "root" . "of" "mysql") -}}
{{- if not $v.app.existingSecret -}}
{{- if not $v.app.firstPassword -}}
{{- fail "app.existingSecret is empty: name a Secret with first-password, or give app.firstPassword." -}}
{{- end -}}
{{- if and $v.flower.enabled (not $v.app.flowerPassword) -}}
{{- fail "app.flowerPassword is empty: Flower's pages need one, or a Secret with flower-password as app.existingSecret." -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq (int $v.mysql.replicas) 1) (not $v.mysql.readHost) -}}
{{- fail "mysql.replicas is 1, and mysql.readHost names no replica." -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.host) -}}
{{- fail "ingress.host is empty: name the host." -}}
{{- end -}}
{{- if and $v.gateway.enabled (not $v.gateway.parents) -}}
{{- fail "gateway.parents is empty: name the Gateway that the HTTPRoute is attached to." -}}
{{- end -}}
{{- if and (or $v.ingress.enabled $v.gateway.enabled) (not $v.api.trustedProxies) -}}
{{- fail "api.trustedProxies is empty: behind an Ingress or a Gateway all clients would share one rate limit, so name its pods' network." -}}
{{- end -}}
{{- if and $v.monitoring.enabled $v.networkPolicy.enabled $v.networkPolicy.clients (not $v.networkPolicy.monitoring) -}}
{{- fail "networkPolicy.monitoring is empty: networkPolicy.clients shuts Prometheus out of the API, so name its pods." -}}
{{- end -}}
{{- range $component := list "api" "worker" "beat" "flower" "migrations" -}}
{{- range $name, $_ := merge (dict) (index $v $component).settings $v.settings -}}
{{- if hasKey (include "lead-ingest.chosen" . | fromYaml) $name -}}
{{- fail (printf "settings: %s is set by the chart, from the value %s." $name (get (include "lead-ingest.chosen" . | fromYaml) $name)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "lead-ingest.checkPasswords" -}}
{{- $server := index .root.Values .of -}}
{{- if not $server.existingSecret -}}
{{- $accounts := $server.accounts -}}
{{- range $name, $account := $accounts -}}
{{- $needed := or (ne $name "flower") $.root.Values.flower.enabled -}}
{{- if and $needed (or (ne $name "scaler") (eq $.root.Values.worker.autoscaler "keda")) -}}
{{- if not (get $server.passwords $account.key) -}}
{{- fail (printf "%s.existingSecret is empty: name a Secret with the passwords of its accounts, or give %s.passwords.%s." $.of $.of $account.key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Settings that the chart sets, and from which value. */ -}}
{{- define "lead-ingest.chosen" -}}
LEADS_REDIS_URL: redis.hosts
LEADS_BROKER_URL: broker.hosts
LEADS_QUEUE_SHARDS: redis.shards
LEADS_REDIS_REPLICAS: redis.replicas
LEADS_DATABASE_URL: mysql.host
LEADS_DATABASE_READ_URL: mysql.readHost
LEADS_DATABASE_REPLICAS: mysql.replicas
LEADS_HTTP_WORKERS: api.processes
LEADS_HTTP_DRAIN: api.stop.drain
LEADS_HTTP_SHUTDOWN_TIMEOUT: api.stop.requests
LEADS_TRUSTED_PROXIES: api.trustedProxies
LEADS_WORKER_CONCURRENCY: worker.processes
LEADS_FLOWER_USER: flower.user
LEADS_FLOWER_PASSWORD: app.flowerPassword
LEADS_FIRST_USER: app.firstUser
LEADS_FIRST_PASSWORD: app.firstPassword
LEADS_JWT_ACCEPTED_KEYS: tokens.acceptedKeys
{{- end -}}
