{{/* gateway.toml, made of `config` and of what the chart itself decides. */}}

{{/* A value as TOML writes it. Numbers of YAML are floats here: a whole one is written without a fraction. */}}
{{- define "easemob-gateway.tomlValue" -}}
{{- if kindIs "float64" . }}
{{- if eq . (floor .) }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end }}
{{- else }}
{{- toJson . }}
{{- end }}
{{- end }}

{{/* A section and those below it: (dict "path" "server" "section" {…}). */}}
{{- define "easemob-gateway.toml" -}}
{{- $path := .path }}
{{- if $path }}
[{{ $path }}]
{{- end }}
{{- range $key, $value := .section }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ $key }} = {{ include "easemob-gateway.tomlValue" $value }}
{{- end }}
{{- end }}
{{ range $key, $value := .section }}
{{- if kindIs "map" $value }}
{{- include "easemob-gateway.toml" (dict "path" (ternary (printf "%s.%s" $path $key) $key (ne $path "")) "section" $value) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Whether the callers stand in a ConfigMap of their own, which the gateway reads again when it changes. */}}
{{- define "easemob-gateway.ownCallers" -}}
{{- if and .Values.config.auth.callers (not .Values.config.auth.callers_file) }}true{{ end }}
{{- end }}

{{/* Whatever needs the settings hears first what is wrong with them. */}}
{{- define "easemob-gateway.config" -}}
{{- include "easemob-gateway.refuse" . }}
{{- $config := deepCopy .Values.config }}
{{- if include "easemob-gateway.ownCallers" . }}
{{- $_ := set $config.auth "callers_file" "/etc/easemob-gateway/callers/callers.toml" }}
{{- end }}
{{- if or (include "easemob-gateway.ownCallers" .) (not $config.auth.callers) }}{{ $_ := unset $config.auth "callers" }}{{ end }}
{{- /* The memory is where the gateway keeps it anyway. */}}
{{- if eq $config.store.kind "memory" }}{{ $_ := unset $config.store "kind" }}{{ end }}
{{- if not $config.store }}{{ $_ := unset $config "store" }}{{ end }}
{{- /* While Redis is away, all replicas there may be stay within the quota together. */}}
{{- if and $config.store (eq (get $config.store "kind") "redis") (not (hasKey $config.store "fallback_share")) }}
{{- $replicas := ternary .Values.autoscaling.maxReplicas .Values.replicaCount .Values.autoscaling.enabled }}
{{- $_ := set $config.store "fallback_share" (divf 1.0 $replicas) }}
{{- end }}
{{- if .Values.tls.enabled }}
{{- $_ := set $config.server "tls" (dict "cert_file" "/etc/easemob-gateway/tls/tls.crt" "key_file" "/etc/easemob-gateway/tls/tls.key") }}
{{- if or .Values.tls.clientCa (eq $config.auth.mode "mtls") }}
{{- $_ := set $config.server.tls "client_ca_file" "/etc/easemob-gateway/tls/ca.crt" }}
{{- end }}
{{- end }}
{{- range $name, $secret := .Values.secrets.apps }}
{{- $app := get $config.apps $name }}
{{- $_ := set $app (ternary "app_certificate_file" "client_secret_file" (eq (get $app "credentials") "agora")) (printf "/etc/easemob-gateway/apps/%s/secret" $name) }}
{{- end }}
{{- if .Values.sandbox.enabled }}
{{- $_ := set $config.apps "sandbox" (dict
  "base_url" (printf "http://%s-sandbox:8025" (include "easemob-gateway.fullname" .))
  "insecure_http" true
  "org_name" "sandbox"
  "app_name" "demo"
  "client_id" "sandbox-client-id"
  "client_secret_env" "SANDBOX_CLIENT_SECRET") }}
{{- end }}
{{- include "easemob-gateway.toml" (dict "path" "" "section" $config) | trim }}
{{- end }}
