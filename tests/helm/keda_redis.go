// Asks Redis for the backlog with KEDA's own scaler, as its operator does for one trigger of a ScaledObject.
//
// It reads {"type", "metadata", "auth"} as JSON, and writes {"backlog", "active", "target"}, or ends with status 1 and the
// scaler's error.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	v2 "k8s.io/api/autoscaling/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kedacore/keda/v2/pkg/scalers"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
)

const timeout = 10 * time.Second

type trigger struct {
	Type     string            `json:"type"`
	Metadata map[string]string `json:"metadata"`
	Auth     map[string]string `json:"auth"`
}

func main() {
	log.SetLogger(logr.Discard())
	if err := ask(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ask() error {
	var asked trigger
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	config := &scalersconfig.ScalerConfig{
		TriggerMetadata: asked.Metadata,
		AuthParams:      asked.Auth,
		MetricType:      v2.AverageValueMetricType,
	}
	clustered := strings.Contains(asked.Type, "-cluster-")
	sentinel := strings.Contains(asked.Type, "-sentinel-")
	scaler, err := scalers.NewRedisStreamsScaler(ctx, clustered, sentinel, config)
	if err != nil {
		return err
	}
	defer func() { _ = scaler.Close(ctx) }()
	spec := scaler.GetMetricSpecForScaling(ctx)[0].External
	values, active, err := scaler.GetMetricsAndActivity(ctx, spec.Metric.Name)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"backlog": values[0].Value.Value(),
		"active":  active,
		"target":  spec.Target.AverageValue.Value(),
	})
}
