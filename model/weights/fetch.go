package weights

import (
	"fmt"
	"strings"
)

// pretraining is the tag of DINOv2's weights at timm.
const pretraining = "lvd142m"

// Fetchable is the name with the tag of the weights that Address knows, "" for other architectures: DINOv3's weights
// need an agreement, the others have many tags.
func (a Arch) Fetchable() string {
	if a.Family != DINOv2 {
		return ""
	}
	return a.Name + "." + pretraining
}

// Address returns the URL of timm's DINOv2 weights with the given name, with or without its tag, and the name with the
// tag. An empty host means Hugging Face's.
func Address(name, host string) (url, full string, err error) {
	if host == "" {
		host = "https://huggingface.co"
	}
	var known []string
	for _, a := range supported {
		full := a.Fetchable()
		if full == "" {
			continue
		}
		if name == full || name == a.Name {
			return strings.TrimRight(host, "/") + "/timm/" + full + "/resolve/main/model.safetensors", full, nil
		}
		known = append(known, full)
	}
	return "", "", fmt.Errorf("backbone fetch: have %.80q, want one of %s; others: third_party/export_backbone.py", name, strings.Join(known, ", "))
}
