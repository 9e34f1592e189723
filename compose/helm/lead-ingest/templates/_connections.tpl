{{- /* Where Redis and MySQL are, with which account. A password is put into a URL by the kubelet: $(NAME). */ -}}

{{- define "lead-ingest.hasBroker" -}}
{{- if .Values.broker.hosts }}true{{ end -}}
{{- end -}}

{{- /* (dict "server" redis|broker "account" NAME "password" VARIABLE "of" redis|broker) */ -}}
{{- define "lead-ingest.redisUrl" -}}
{{- $user := (index .server.accounts .account).user -}}
{{- $place := printf "%s:$(%s)@%s" $user .password (join "," .server.hosts) -}}
{{- if eq .server.form "sentinel" -}}
redis+sentinel://{{ $place }}/{{ .server.sentinelName }}
{{- else if eq .server.form "cluster" -}}
redis+cluster://{{ $place }}
{{- else if .server.tls -}}
rediss://{{ $place }}/{{ .server.database }}?ssl_cert_reqs=required
{{- if .server.caSecret }}&ssl_ca_certs=/etc/lead-ingest/{{ .of }}-ca/ca.crt{{ end -}}
{{- else -}}
redis://{{ $place }}/{{ .server.database }}
{{- end -}}
{{- end -}}

{{- /* The servers as they are with the trial's in their place: YAML with redis and mysql. */ -}}
{{- define "lead-ingest.servers" -}}
{{- $redis := deepCopy .Values.redis -}}
{{- $mysql := deepCopy .Values.mysql -}}
{{- if .Values.trial.enabled -}}
{{- $name := include "lead-ingest.fullname" . -}}
{{- $_ := set $redis "hosts" (list (printf "%s-redis:6379" $name)) -}}
{{- range $each := keys $redis.accounts -}}
{{- $_ := set $redis.accounts $each (dict "user" "default" "key" "password") -}}
{{- end -}}
{{- $_ := set $mysql "host" (printf "%s-mysql" $name) -}}
{{- range $each := keys $mysql.accounts -}}
{{- $_ := set $mysql.accounts $each (dict "user" "leads" "key" "password") -}}
{{- end -}}
{{- end -}}
{{- if kindIs "invalid" $redis.replicas -}}
{{- $_ := set $redis "replicas" (ternary 0 1 (eq $redis.form "single")) -}}
{{- end -}}
{{- dict "redis" $redis "mysql" $mysql "broker" .Values.broker | toYaml -}}
{{- end -}}

{{- /* (dict "root" $ "component" NAME "redis" ACCOUNT "mysql" ACCOUNT or "" "own" DICT "settings" DICT "hook" BOOL): a container's environment. */ -}}
{{- define "lead-ingest.environment" -}}
{{- $root := .root -}}
{{- $servers := include "lead-ingest.servers" $root | fromYaml -}}
{{- $redis := $servers.redis -}}
{{- $mysql := $servers.mysql -}}
{{- $account := index $redis.accounts .redis -}}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "lead-ingest.secretName" (dict "root" $root "of" "redis" "hook" .hook) }}, key: {{ $account.key }}}
- name: LEADS_REDIS_URL
  value: {{ include "lead-ingest.redisUrl" (dict "server" $redis "account" .redis "password" "REDIS_PASSWORD" "of" "redis") | quote }}
{{- if include "lead-ingest.hasBroker" $root }}
- name: BROKER_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "lead-ingest.secretName" (dict "root" $root "of" "broker" "hook" .hook) }}, key: {{ (index $servers.broker.accounts .redis).key }}}
- name: LEADS_BROKER_URL
  value: {{ include "lead-ingest.redisUrl" (dict "server" $servers.broker "account" .redis "password" "BROKER_PASSWORD" "of" "broker") | quote }}
{{- end }}
{{- $own := dict "LEADS_QUEUE_SHARDS" $redis.shards -}}
{{- if .mysql }}
{{- $account := index $mysql.accounts .mysql }}
{{- $tail := printf "/%s%s" $mysql.database (ternary "?ssl_ca=/etc/lead-ingest/mysql-ca/ca.crt" "" (ne $mysql.caSecret "")) }}
- name: MYSQL_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "lead-ingest.secretName" (dict "root" $root "of" "mysql" "hook" .hook) }}, key: {{ $account.key }}}
- name: LEADS_DATABASE_URL
  value: {{ printf "mysql+pymysql://%s:$(MYSQL_PASSWORD)@%s:%d%s" $account.user $mysql.host (int $mysql.port) $tail | quote }}
{{- if and $mysql.readHost (or (eq .component "api") (and (eq .component "worker") (eq (int $mysql.replicas) 1))) }}
- name: LEADS_DATABASE_READ_URL
  value: {{ printf "mysql+pymysql://%s:$(MYSQL_PASSWORD)@%s:%d%s" $account.user $mysql.readHost (int $mysql.readPort) $tail | quote }}
{{- end }}
{{- end }}
{{- if has .component (list "api" "worker") }}
{{- $_ := set $own "LEADS_REDIS_REPLICAS" $redis.replicas }}
{{- end }}
{{- if eq .component "worker" }}
{{- $_ := set $own "LEADS_DATABASE_REPLICAS" $mysql.replicas }}
{{- end }}
{{- $own = mustMerge $own .own -}}
{{- $all := mustMergeOverwrite (dict) (deepCopy $root.Values.settings) (deepCopy .settings) $own }}
{{- range $name := keys $all | sortAlpha }}
- name: {{ $name }}
  value: {{ include "lead-ingest.text" (index $all $name) | quote }}
{{- end }}
{{- end -}}
