{{- /* What pods have in common. All of it passes the restricted Pod Security Standard. */ -}}

{{- /* (dict "root" $ "component" NAME "user" UID) */ -}}
{{- define "lead-ingest.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "lead-ingest.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- /* A pod's metadata: its labels, and annotations that change when what it reads at its start does. */ -}}
{{- define "lead-ingest.podMetadata" -}}
labels:
  {{- include "lead-ingest.podLabels" . | nindent 2 }}
  {{- with .root.Values.pod.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := merge (default (dict) .annotations) .root.Values.pod.annotations }}
{{- /* What the order of a release goes by: others may add containers to a pod, and name its image otherwise. */}}
{{- if has .component (list "api" "worker" "beat") }}
{{- $_ := set $annotations "lead-ingest/image" (include "lead-ingest.image" .root) }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* (dict "root" $ "component" NAME "account" SUFFIX or ""): where a pod of ours runs, and as whom. */ -}}
{{- define "lead-ingest.podPlace" -}}
serviceAccountName: {{ if eq .account "default" }}default{{ else }}{{ include "lead-ingest.fullname" .root }}{{ .account }}{{ end }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .root.Values.pod }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "lead-ingest.spread" -}}
{{- with .root.Values.pod.spreadOver -}}
topologySpreadConstraints:
  {{- range . }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "lead-ingest.selector" $ | nindent 8 }}
    # Each release by itself, so that an upgrade does not count the pods that go.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end -}}

{{- /* The beginning of a container of ours: its image, its rights. */ -}}
{{- define "lead-ingest.container" -}}
image: {{ include "lead-ingest.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{ include "lead-ingest.containerSecurity" . }}
{{- end -}}

{{- /* What a container of ours writes lies in memory, as its root is read-only, and the authorities that it trusts are files. */ -}}
{{- define "lead-ingest.mounts" -}}
- {name: data, mountPath: /var/lib/lead-ingest}
- {name: tmp, mountPath: /tmp}
{{- range $of := list "redis" "broker" "mysql" }}
{{- if (index $.Values $of).caSecret }}
- {name: {{ $of }}-ca, mountPath: /etc/lead-ingest/{{ $of }}-ca, readOnly: true}
{{- end }}
{{- end }}
{{- end -}}

{{- define "lead-ingest.volumes" -}}
- name: data
  emptyDir: {medium: Memory, sizeLimit: 64Mi}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 64Mi}
{{- range $of := list "redis" "broker" "mysql" }}
{{- with (index $.Values $of).caSecret }}
- name: {{ $of }}-ca
  secret: {secretName: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Copies the key that signs to where the API makes its public half beside it. */ -}}
{{- define "lead-ingest.keysContainer" -}}
- name: keys
  {{- include "lead-ingest.container" . | nindent 2 }}
  command: [install, -D, -m, "0600", /etc/lead-ingest/keys/jwt-private.pem, /var/lib/lead-ingest/keys/jwt-private.pem]
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 64Mi}
  volumeMounts:
    - {name: keys, mountPath: /etc/lead-ingest/keys, readOnly: true}
    - {name: data, mountPath: /var/lib/lead-ingest}
{{- end -}}

{{- /* (dict "root" $ "hook" BOOL) */ -}}
{{- define "lead-ingest.keysVolume" -}}
- name: keys
  secret:
    secretName: {{ include "lead-ingest.secretName" (dict "root" .root "of" "tokens" "hook" .hook) }}
    defaultMode: 0440
    items: [{key: jwt-private.pem, path: jwt-private.pem}]
{{- end -}}

{{- /* (dict "root" $ "after" LIST): waits until no pod of these components is of another release. It alone has a token. */ -}}
{{- define "lead-ingest.orderContainer" -}}
{{- $root := .root -}}
- name: order
  {{- include "lead-ingest.container" $root | nindent 2 }}
  command: [python, -m, compose.production.rollout]
  args:
    - --name={{ default $root.Chart.Name $root.Values.nameOverride }}
    - --instance={{ $root.Release.Name }}
    - --image={{ include "lead-ingest.image" $root }}
    - --timeout={{ int64 $root.Values.migrations.timeout }}
    {{- range .after }}
    - {{ . }}
    {{- end }}
  resources:
    requests: {cpu: 10m, memory: 64Mi}
    limits: {memory: 128Mi}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end -}}

{{- define "lead-ingest.orderVolume" -}}
- name: token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3600}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end -}}
