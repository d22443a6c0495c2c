// Decodes each document of the files given into Kubernetes' own type of its kind; unknown and doubled fields are refused. No cluster
// is asked: go run . ../../deploy/kubernetes/*.yaml
package main

import (
	"bytes"
	"fmt"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

func typeOf(apiVersion, kind string) any {
	switch apiVersion + " " + kind {
	case "apps/v1 Deployment":
		return &appsv1.Deployment{}
	case "apps/v1 StatefulSet":
		return &appsv1.StatefulSet{}
	case "v1 Service":
		return &corev1.Service{}
	case "v1 ConfigMap":
		return &corev1.ConfigMap{}
	case "v1 Secret":
		return &corev1.Secret{}
	case "policy/v1 PodDisruptionBudget":
		return &policyv1.PodDisruptionBudget{}
	}
	return nil
}

func main() {
	failed := false
	for _, file := range os.Args[1:] {
		text, err := os.ReadFile(file)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for _, document := range bytes.Split(text, []byte("\n---\n")) {
			var head struct{ APIVersion, Kind string }
			if err := yaml.Unmarshal(document, &head); err != nil {
				fmt.Println(file, err)
				failed = true
				continue
			}
			if head.Kind == "Kustomization" {
				continue // kubectl kustomize reads it
			}
			object := typeOf(head.APIVersion, head.Kind)
			if object == nil {
				fmt.Println(file, "no type is known here for", head.APIVersion, head.Kind)
				failed = true
				continue
			}
			if err := yaml.UnmarshalStrict(document, object); err != nil {
				fmt.Println(file, head.Kind, err)
				failed = true
				continue
			}
			fmt.Println(file, head.APIVersion, head.Kind, "ok")
		}
	}
	if failed {
		os.Exit(1)
	}
}
