/**
 * The files beside the weights of an exported checkpoint, as transformers reads them. Pure; no time or path in them.
 */
import { CLIP_MEAN, CLIP_STD } from "../model/clip/Pixels.ts"
import type { LlavaConfig } from "../model/llava/Config.ts"
import { chatTemplate } from "./ChatTemplate.ts"

export const generationJson = (config: LlavaConfig, padId: number) => ({
  bos_token_id: config.text.bosToken,
  do_sample: false,
  eos_token_id: config.text.eosToken,
  pad_token_id: padId
})

export const tokenizerJson = (config: LlavaConfig) => ({
  bos_token: "<|endoftext|>",
  chat_template: chatTemplate,
  clean_up_tokenization_spaces: false,
  eos_token: "<|endoftext|>",
  model_max_length: config.text.maxPositions,
  pad_token: "<pad>",
  padding_side: "left",
  tokenizer_class: "PreTrainedTokenizerFast",
  unk_token: "<|endoftext|>"
})

/** Images are padded to a square in CLIP's mean colour, as in instruction tuning. */
export const imageProcessorJson = ({ vision }: LlavaConfig) => ({
  crop_size: { height: vision.imageSize, width: vision.imageSize },
  do_center_crop: true,
  do_convert_rgb: true,
  do_normalize: true,
  do_pad: true,
  do_rescale: true,
  do_resize: true,
  image_mean: CLIP_MEAN,
  image_processor_type: "LlavaImageProcessor",
  image_std: CLIP_STD,
  processor_class: "LlavaProcessor",
  resample: 3,
  rescale_factor: 1 / 255,
  size: { shortest_edge: vision.imageSize }
})

export const processorJson = ({ vision }: LlavaConfig) => ({
  image_token: "<image>",
  num_additional_image_tokens: 1,
  patch_size: vision.patchSize,
  processor_class: "LlavaProcessor",
  vision_feature_select_strategy: "default"
})

/** The class that keeps the head's bias, which the stock one has not. */
export const HEAD_CLASS = `"""LLaVA with a bias on its language head, as Phi-2 has one; everything else is the stock class."""
from torch import nn
from transformers import LlavaForConditionalGeneration


class LlavaPhiForConditionalGeneration(LlavaForConditionalGeneration):
    def __init__(self, config):
        super().__init__(config)
        text = config.text_config
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=True)
        self.post_init()
`
