{{/* Combinations that cannot work, or would work in secret against whoever installs them: each is refused with a sentence. */}}

{{/* Whether a URL has a password in it. */}}
{{- define "easemob-gateway.hasPassword" -}}
{{- if regexMatch "^[a-z+]+://[^/@]*:[^/@]+@" (default "" .) }}true{{ end }}
{{- end }}

{{- define "easemob-gateway.refuse" -}}
{{- $config := .Values.config }}
{{- $several := or (gt (int .Values.replicaCount) 1) .Values.autoscaling.enabled }}
{{- if and $several (ne $config.store.kind "redis") }}
{{- fail "More than one replica (replicaCount or autoscaling) needs config.store.kind=redis: with the memory store, replicas do not know of each other's requests, so a repeated request could send a message twice, and their quotas add up beyond Easemob's." }}
{{- end }}
{{- if .Values.autoscaling.enabled }}
{{- with .Values.autoscaling }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
{{- fail (printf "autoscaling.minReplicas=%d is more than autoscaling.maxReplicas=%d." (int .minReplicas) (int .maxReplicas)) }}
{{- end }}
{{- if not (or .targetCPUUtilizationPercentage .inFlight.enabled) }}
{{- fail "autoscaling.enabled=true has nothing to scale by: set autoscaling.targetCPUUtilizationPercentage, or autoscaling.inFlight.enabled=true." }}
{{- end }}
{{- if and .targetCPUUtilizationPercentage (not (dig "requests" "cpu" "" $.Values.resources)) }}
{{- fail "autoscaling.targetCPUUtilizationPercentage is a part of resources.requests.cpu, which is not set." }}
{{- end }}
{{- end }}
{{- end }}
{{- range list "listen" "operations_listen" }}
{{- $address := get $config.server . }}
{{- if or (hasPrefix "127." $address) (hasPrefix "[::1]" $address) (hasPrefix "localhost:" $address) }}
{{- fail (printf "config.server.%s=%s is reached from within the pod alone: neither callers nor probes come there. Listen on 0.0.0.0 or [::]." . $address) }}
{{- end }}
{{- end }}
{{- if hasKey $config.server "tls" }}
{{- fail "config.server.tls is written by the chart: set tls.enabled=true, and tls.existingSecret or tls.certManager." }}
{{- end }}
{{- if and (eq $config.store.kind "redis") (not (or .Values.secrets.store.existingSecret .Values.secrets.store.value (get $config.store "url"))) }}
{{- fail "config.store.kind=redis needs the URL of Redis: name a Secret that holds it in secrets.store.existingSecret, or set secrets.store.value." }}
{{- end }}
{{- if include "easemob-gateway.hasPassword" (get $config.store "url") }}
{{- fail "config.store.url has a password, and would stand in a ConfigMap for everyone to read: put the URL into secrets.store." }}
{{- end }}
{{- if not (has $config.auth.mode (list "api_key" "mtls" "none")) }}
{{- fail (printf "config.auth.mode must say how callers prove who they are: api_key, mtls or none; it is %q." $config.auth.mode) }}
{{- end }}
{{- if and (eq $config.auth.mode "none") (not (get $config.auth "allow_anonymous")) }}
{{- fail "config.auth.mode=none lets everyone who reaches the port send in the name of your apps. Choose api_key or mtls, or where a mesh decides who may call, say so with config.auth.allow_anonymous=true." }}
{{- end }}
{{- if and (ne $config.auth.mode "none") (not (or $config.auth.callers $config.auth.callers_file)) }}
{{- fail (printf "config.auth.mode=%s needs callers: name each in config.auth.callers with its apps; `easemob-gateway key new` makes a key." $config.auth.mode) }}
{{- end }}
{{- if and (eq $config.auth.mode "mtls") (not .Values.tls.enabled) }}
{{- fail "config.auth.mode=mtls needs tls.enabled=true: callers are known by their certificates." }}
{{- end }}
{{- if and .Values.tls.enabled (not .Values.tls.certManager.enabled) (not .Values.tls.existingSecret) }}
{{- fail "tls.enabled=true needs a certificate: name a Secret in tls.existingSecret, or set tls.certManager.enabled=true." }}
{{- end }}
{{- if and .Values.tls.certManager.enabled (not .Values.tls.certManager.issuerRef.name) }}
{{- fail "tls.certManager.enabled=true needs the issuer's name in tls.certManager.issuerRef.name." }}
{{- end }}
{{- if not (or $config.apps .Values.sandbox.enabled) }}
{{- fail "config.apps is empty: name at least one Easemob app, or set sandbox.enabled=true for a first try without one." }}
{{- end }}
{{- if and .Values.sandbox.enabled (hasKey $config.apps "sandbox") }}
{{- fail "sandbox.enabled=true makes the app sandbox: give config.apps.sandbox another name." }}
{{- end }}
{{- range $name, $app := $config.apps }}
{{- if include "easemob-gateway.hasPassword" (get $app "proxy_url") }}
{{- fail (printf "config.apps.%s.proxy_url has a password, and would stand in a ConfigMap for everyone to read: set EASEMOB_GATEWAY__APPS__%s__PROXY_URL from a Secret in extraEnv." $name ($name | upper | replace "-" "_")) }}
{{- end }}
{{- $secret := get $.Values.secrets.apps $name | default dict }}
{{- $own := false }}
{{- range list "client_secret_file" "client_secret_env" "app_certificate_file" "app_certificate_env" }}{{ if get $app . }}{{ $own = true }}{{ end }}{{ end }}
{{- if not (or $own $secret.existingSecret $secret.value) }}
{{- fail (printf "The app %q has no credentials: name a Secret in secrets.apps.%s.existingSecret, or set secrets.apps.%s.value." $name $name $name) }}
{{- end }}
{{- if and $own (or $secret.existingSecret $secret.value) }}
{{- fail (printf "The app %q has its secret twice: in config.apps.%s and in secrets.apps.%s." $name $name $name) }}
{{- end }}
{{- end }}
{{- range $name, $secret := .Values.secrets.apps }}
{{- if not (hasKey $config.apps $name) }}
{{- fail (printf "secrets.apps.%s belongs to no app: config.apps has no %q." $name $name) }}
{{- end }}
{{- end }}
{{- $volumes := dict }}
{{- range $name, $secret := .Values.secrets.apps }}
{{- $volume := $name | replace "_" "-" }}
{{- with get $volumes $volume }}
{{- fail (printf "The apps %q and %q differ by - and _ alone, and Kubernetes' names know no _: rename one." . $name) }}
{{- end }}
{{- $_ := set $volumes $volume $name }}
{{- end }}
{{- $drain := $config.server.drain_timeout }}
{{- if not (regexMatch "^[0-9]+(s|m)$" $drain) }}
{{- fail (printf "config.server.drain_timeout must be in whole seconds or minutes, such as 40s; it is %q." $drain) }}
{{- end }}
{{- $seconds := trimSuffix "s" $drain | trimSuffix "m" | int }}
{{- if hasSuffix "m" $drain }}{{ $seconds = mul $seconds 60 }}{{ end }}
{{- $needed := add $seconds (int .Values.preStopSleepSeconds) 10 }}
{{- if lt (int .Values.terminationGracePeriodSeconds) (int $needed) }}
{{- fail (printf "terminationGracePeriodSeconds must be at least %d: preStopSleepSeconds, config.server.drain_timeout and ten seconds. Otherwise Kubernetes would kill sends under way." (int $needed)) }}
{{- end }}
{{- $memory := dig "limits" "memory" "" .Values.resources | toString }}
{{- if regexMatch "^[0-9]+(Mi|Gi)$" $memory }}
{{- $mebibytes := $memory | trimSuffix "Mi" | trimSuffix "Gi" | int64 }}
{{- if hasSuffix "Gi" $memory }}{{ $mebibytes = mul $mebibytes 1024 }}{{ end }}
{{- $windows := mul (dig "max_connections" 1000 $config.server | int64) (dig "http2" "connection_window_bytes" 262144 $config.server | int64) }}
{{- if gt (mul $windows 2) (mul $mebibytes 1048576) }}
{{- fail (printf "resources.limits.memory=%s is less than twice what callers can make the gateway hold: config.server.max_connections × config.server.http2.connection_window_bytes. Raise the one or lower the others." $memory) }}
{{- end }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (eq $config.store.kind "redis") (not .Values.networkPolicy.egress.redis.to) }}
{{- fail "The NetworkPolicy lets nothing out to Redis: say where it is in networkPolicy.egress.redis.to." }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (get $config.telemetry "otlp_endpoint") (not .Values.networkPolicy.egress.otlp.to) }}
{{- fail "The NetworkPolicy lets nothing out to the collector: say where it is in networkPolicy.egress.otlp.to." }}
{{- end }}
{{- if and .Values.mesh.istio.enabled .Values.mesh.linkerd.enabled }}
{{- fail "A pod belongs to one mesh: mesh.istio or mesh.linkerd." }}
{{- end }}
{{- range .Values.mesh.istio.principals }}
{{- if hasPrefix "spiffe://" . }}
{{- fail (printf "mesh.istio.principals: Istio writes identities without their scheme: %s." (trimPrefix "spiffe://" .)) }}
{{- end }}
{{- end }}
{{- range $name, $_ := .Values.service.annotations }}
{{- if hasPrefix "retry.linkerd.io/" $name }}
{{- fail (printf "service.annotations: %s has Linkerd repeat calls by their code, and it cannot tell whose code it is: what a dying process has sent would be sent again." $name) }}
{{- end }}
{{- end }}
{{- if and .Values.grpcRoute.enabled (not .Values.grpcRoute.parentRefs) }}
{{- fail "grpcRoute.enabled=true needs the gateways that the route belongs to, in grpcRoute.parentRefs." }}
{{- end }}
{{- end }}
