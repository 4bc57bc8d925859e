package weights

import "testing"

// TestPublishedLicence has the licences of timm's pretrained configurations and, for CLIP, of OpenAI's repository.
func TestPublishedLicence(t *testing.T) {
	for name, want := range map[string]string{
		"vit_small_patch14_dinov2.lvd142m":             "Apache-2.0",
		"vit_base_patch16_dinov3.lvd1689m":             "DINOv3 License",
		"vit_base_patch16_224.augreg_in21k_ft_in1k":    "Apache-2.0",
		"vit_base_patch16_224.mae":                     "CC-BY-NC-4.0",
		"deit_small_patch16_224.fb_in1k":               "Apache-2.0",
		"vit_base_patch16_clip_quickgelu_224.openai":   "MIT",
		"vit_base_patch16_clip_224.openai_ft_in12k":    "", // fine-tuned by others
		"vit_small_patch14_dinov2":                     "", // anybody's weights
		"vit_small_patch14_dinov2.mae":                 "", // no such weights
		"vit_small_patch14_dinov2.lvd142m_of_somebody": "",
		"resnet50.a1_in1k":                             "",
	} {
		if have := PublishedLicence(name); have != want {
			t.Errorf("%s: have %q, want %q", name, have, want)
		}
	}
}
