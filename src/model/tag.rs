//! Tags, and the three operations on them.

use super::declare::{list_shapes, map_shapes, string_shapes, structures};

string_shapes! {
    /// Key of a tag.
    TagKey { length: 1..=128 }
    /// Value of a tag.
    TagValue { length: 0..=256 }
    /// ARN of any taggable resource.
    ///
    /// AWS's published pattern allows exactly one character before the slash, which no real ARN has: here it is one or more.
    ResourceArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:[a-z-]+/[a-zA-Z0-9-]+" }
}

list_shapes! {
    /// Keys of tags.
    TagKeyList [TagKey] { min: 0, max: 50 }
}

map_shapes! {
    /// Tags: at most 50 per resource; keys must not begin with `aws:`.
    Tags [TagKey, TagValue] { min: 0, max: 50 }
}

structures! {
    /// Input of `ListTagsForResource`.
    ListTagsForResourceRequest {
        /// ARN of the resource.
        resource_arn: ResourceArn,
    }
    /// Output of `ListTagsForResource`.
    ListTagsForResourceResponse {
        /// Tags of the resource.
        tags: Tags,
    }
    /// Input of `TagResource`.
    TagResourceRequest {
        /// ARN of the resource.
        resource_arn: ResourceArn,
        /// Tags of the resource.
        tags: Tags,
    }
    /// Output of `TagResource`.
    TagResourceResponse {}
    /// Input of `UntagResource`.
    UntagResourceRequest {
        /// ARN of the resource.
        resource_arn: ResourceArn,
        /// Keys of the tags to remove.
        tag_keys: TagKeyList,
    }
    /// Output of `UntagResource`.
    UntagResourceResponse {}
}
