//! Element ids of EBML and Matroska, with the place that each has in the hierarchy.
//!
//! Ids are written with their length marker, as in the specification (RFC 9559). [`describe`] knows every element that
//! the Java parser library knows and that occurs in practice; unknown elements are skipped by their size.

/// Kind of an element, as far as reading needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Contains other elements.
    Master,
    /// Contains a value.
    Data,
}

/// The place of an element in the hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// Distance from the root; `None` for the global elements `Void` and `CRC-32`, which may stand anywhere.
    pub level: Option<u8>,
    /// Whether it contains elements or a value.
    pub kind: Kind,
    /// Its name in the specification.
    pub name: &'static str,
}

macro_rules! elements {
    ($( $level:tt $kind:ident $id:literal $constant:ident $name:literal; )*) => {
        $( #[doc = concat!("`", $name, "`")] pub const $constant: u32 = $id; )*

        /// What is known of an element; `None` for an id that the table does not have.
        pub const fn describe(id: u32) -> Option<Description> {
            match id {
                $( $id => Some(Description { level: level!($level), kind: Kind::$kind, name: $name }), )*
                _ => None,
            }
        }
    };
}

macro_rules! level {
    (any) => {
        None
    };
    ($level:literal) => {
        Some($level)
    };
}

elements! {
    any Data 0xEC VOID "Void";
    any Data 0xBF CRC_32 "CRC-32";
    0 Master 0x1A45_DFA3 EBML "EBML";
    1 Data 0x4286 EBML_VERSION "EBMLVersion";
    1 Data 0x42F7 EBML_READ_VERSION "EBMLReadVersion";
    1 Data 0x42F2 EBML_MAX_ID_LENGTH "EBMLMaxIDLength";
    1 Data 0x42F3 EBML_MAX_SIZE_LENGTH "EBMLMaxSizeLength";
    1 Data 0x4282 DOC_TYPE "DocType";
    1 Data 0x4287 DOC_TYPE_VERSION "DocTypeVersion";
    1 Data 0x4285 DOC_TYPE_READ_VERSION "DocTypeReadVersion";
    0 Master 0x1853_8067 SEGMENT "Segment";
    1 Master 0x114D_9B74 SEEK_HEAD "SeekHead";
    2 Master 0x4DBB SEEK "Seek";
    3 Data 0x53AB SEEK_ID "SeekID";
    3 Data 0x53AC SEEK_POSITION "SeekPosition";
    1 Master 0x1549_A966 INFO "Info";
    2 Data 0x73A4 SEGMENT_UID "SegmentUID";
    2 Data 0x7384 SEGMENT_FILENAME "SegmentFilename";
    2 Data 0x003C_B923 PREV_UID "PrevUID";
    2 Data 0x003C_83AB PREV_FILENAME "PrevFilename";
    2 Data 0x003E_B923 NEXT_UID "NextUID";
    2 Data 0x003E_83BB NEXT_FILENAME "NextFilename";
    2 Data 0x4444 SEGMENT_FAMILY "SegmentFamily";
    2 Master 0x6924 CHAPTER_TRANSLATE "ChapterTranslate";
    3 Data 0x69FC CHAPTER_TRANSLATE_EDITION_UID "ChapterTranslateEditionUID";
    3 Data 0x69BF CHAPTER_TRANSLATE_CODEC "ChapterTranslateCodec";
    3 Data 0x69A5 CHAPTER_TRANSLATE_ID "ChapterTranslateID";
    2 Data 0x002A_D7B1 TIMECODE_SCALE "TimecodeScale";
    2 Data 0x4489 DURATION "Duration";
    2 Data 0x4461 DATE_UTC "DateUTC";
    2 Data 0x7BA9 TITLE "Title";
    2 Data 0x4D80 MUXING_APP "MuxingApp";
    2 Data 0x5741 WRITING_APP "WritingApp";
    1 Master 0x1F43_B675 CLUSTER "Cluster";
    2 Data 0xE7 TIMECODE "Timecode";
    2 Master 0x5854 SILENT_TRACKS "SilentTracks";
    3 Data 0x58D7 SILENT_TRACK_NUMBER "SilentTrackNumber";
    2 Data 0xA7 POSITION "Position";
    2 Data 0xAB PREV_SIZE "PrevSize";
    2 Data 0xA3 SIMPLE_BLOCK "SimpleBlock";
    2 Master 0xA0 BLOCK_GROUP "BlockGroup";
    3 Data 0xA1 BLOCK "Block";
    3 Data 0xA2 BLOCK_VIRTUAL "BlockVirtual";
    3 Master 0x75A1 BLOCK_ADDITIONS "BlockAdditions";
    4 Master 0xA6 BLOCK_MORE "BlockMore";
    5 Data 0xEE BLOCK_ADD_ID "BlockAddID";
    5 Data 0xA5 BLOCK_ADDITIONAL "BlockAdditional";
    3 Data 0x9B BLOCK_DURATION "BlockDuration";
    3 Data 0xFA REFERENCE_PRIORITY "ReferencePriority";
    3 Data 0xFB REFERENCE_BLOCK "ReferenceBlock";
    3 Data 0xFD REFERENCE_VIRTUAL "ReferenceVirtual";
    3 Data 0xA4 CODEC_STATE "CodecState";
    3 Data 0x75A2 DISCARD_PADDING "DiscardPadding";
    3 Master 0x8E SLICES "Slices";
    4 Master 0xE8 TIME_SLICE "TimeSlice";
    5 Data 0xCC LACE_NUMBER "LaceNumber";
    5 Data 0xCD FRAME_NUMBER "FrameNumber";
    5 Data 0xCB BLOCK_ADDITION_ID "BlockAdditionID";
    5 Data 0xCE DELAY "Delay";
    5 Data 0xCF SLICE_DURATION "SliceDuration";
    3 Master 0xC8 REFERENCE_FRAME "ReferenceFrame";
    4 Data 0xC9 REFERENCE_OFFSET "ReferenceOffset";
    4 Data 0xCA REFERENCE_TIMECODE "ReferenceTimeCode";
    2 Data 0xAF ENCRYPTED_BLOCK "EncryptedBlock";
    1 Master 0x1654_AE6B TRACKS "Tracks";
    2 Master 0xAE TRACK_ENTRY "TrackEntry";
    3 Data 0xD7 TRACK_NUMBER "TrackNumber";
    3 Data 0x73C5 TRACK_UID "TrackUID";
    3 Data 0x83 TRACK_TYPE "TrackType";
    3 Data 0xB9 FLAG_ENABLED "FlagEnabled";
    3 Data 0x88 FLAG_DEFAULT "FlagDefault";
    3 Data 0x55AA FLAG_FORCED "FlagForced";
    3 Data 0x55AB FLAG_HEARING_IMPAIRED "FlagHearingImpaired";
    3 Data 0x55AC FLAG_VISUAL_IMPAIRED "FlagVisualImpaired";
    3 Data 0x55AE FLAG_ORIGINAL "FlagOriginal";
    3 Data 0x55AF FLAG_COMMENTARY "FlagCommentary";
    3 Data 0x9C FLAG_LACING "FlagLacing";
    3 Data 0x6DE7 MIN_CACHE "MinCache";
    3 Data 0x6DF8 MAX_CACHE "MaxCache";
    3 Data 0x0023_E383 DEFAULT_DURATION "DefaultDuration";
    3 Data 0x0023_4E7A DEFAULT_DECODED_FIELD_DURATION "DefaultDecodedFieldDuration";
    3 Data 0x0023_314F TRACK_TIMECODE_SCALE "TrackTimecodeScale";
    3 Data 0x537F TRACK_OFFSET "TrackOffset";
    3 Data 0x55EE MAX_BLOCK_ADDITION_ID "MaxBlockAdditionID";
    3 Master 0x41E4 BLOCK_ADDITION_MAPPING "BlockAdditionMapping";
    4 Data 0x41F0 BLOCK_ADD_ID_VALUE "BlockAddIDValue";
    4 Data 0x41A4 BLOCK_ADD_ID_NAME "BlockAddIDName";
    4 Data 0x41E7 BLOCK_ADD_ID_TYPE "BlockAddIDType";
    4 Data 0x41ED BLOCK_ADD_ID_EXTRA_DATA "BlockAddIDExtraData";
    3 Data 0x536E NAME "Name";
    3 Data 0x0022_B59C LANGUAGE "Language";
    3 Data 0x0022_B59D LANGUAGE_BCP47 "LanguageBCP47";
    3 Data 0x86 CODEC_ID "CodecID";
    3 Data 0x63A2 CODEC_PRIVATE "CodecPrivate";
    3 Data 0x0025_8688 CODEC_NAME "CodecName";
    3 Data 0x7446 ATTACHMENT_LINK "AttachmentLink";
    3 Data 0x003A_9697 CODEC_SETTINGS "CodecSettings";
    3 Data 0x003B_4040 CODEC_INFO_URL "CodecInfoURL";
    3 Data 0x0026_B240 CODEC_DOWNLOAD_URL "CodecDownloadURL";
    3 Data 0xAA CODEC_DECODE_ALL "CodecDecodeAll";
    3 Data 0x6FAB TRACK_OVERLAY "TrackOverlay";
    3 Data 0x56AA CODEC_DELAY "CodecDelay";
    3 Data 0x56BB SEEK_PRE_ROLL "SeekPreRoll";
    3 Master 0x6624 TRACK_TRANSLATE "TrackTranslate";
    4 Data 0x66FC TRACK_TRANSLATE_EDITION_UID "TrackTranslateEditionUID";
    4 Data 0x66BF TRACK_TRANSLATE_CODEC "TrackTranslateCodec";
    4 Data 0x66A5 TRACK_TRANSLATE_TRACK_ID "TrackTranslateTrackID";
    3 Master 0xE0 VIDEO "Video";
    4 Data 0x9A FLAG_INTERLACED "FlagInterlaced";
    4 Data 0x9D FIELD_ORDER "FieldOrder";
    4 Data 0x53B8 STEREO_MODE "StereoMode";
    4 Data 0x53C0 ALPHA_MODE "AlphaMode";
    4 Data 0x53B9 OLD_STEREO_MODE "OldStereoMode";
    4 Data 0xB0 PIXEL_WIDTH "PixelWidth";
    4 Data 0xBA PIXEL_HEIGHT "PixelHeight";
    4 Data 0x54AA PIXEL_CROP_BOTTOM "PixelCropBottom";
    4 Data 0x54BB PIXEL_CROP_TOP "PixelCropTop";
    4 Data 0x54CC PIXEL_CROP_LEFT "PixelCropLeft";
    4 Data 0x54DD PIXEL_CROP_RIGHT "PixelCropRight";
    4 Data 0x54B0 DISPLAY_WIDTH "DisplayWidth";
    4 Data 0x54BA DISPLAY_HEIGHT "DisplayHeight";
    4 Data 0x54B2 DISPLAY_UNIT "DisplayUnit";
    4 Data 0x54B3 ASPECT_RATIO_TYPE "AspectRatioType";
    4 Data 0x002E_B524 COLOUR_SPACE "ColourSpace";
    4 Data 0x002F_B523 GAMMA_VALUE "GammaValue";
    4 Data 0x0023_83E3 FRAME_RATE "FrameRate";
    4 Master 0x55B0 COLOUR "Colour";
    5 Data 0x55B1 MATRIX_COEFFICIENTS "MatrixCoefficients";
    5 Data 0x55B2 BITS_PER_CHANNEL "BitsPerChannel";
    5 Data 0x55B3 CHROMA_SUBSAMPLING_HORZ "ChromaSubsamplingHorz";
    5 Data 0x55B4 CHROMA_SUBSAMPLING_VERT "ChromaSubsamplingVert";
    5 Data 0x55B5 CB_SUBSAMPLING_HORZ "CbSubsamplingHorz";
    5 Data 0x55B6 CB_SUBSAMPLING_VERT "CbSubsamplingVert";
    5 Data 0x55B7 CHROMA_SITING_HORZ "ChromaSitingHorz";
    5 Data 0x55B8 CHROMA_SITING_VERT "ChromaSitingVert";
    5 Data 0x55B9 RANGE "Range";
    5 Data 0x55BA TRANSFER_CHARACTERISTICS "TransferCharacteristics";
    5 Data 0x55BB PRIMARIES "Primaries";
    5 Data 0x55BC MAX_CLL "MaxCLL";
    5 Data 0x55BD MAX_FALL "MaxFALL";
    5 Master 0x55D0 MASTERING_METADATA "MasteringMetadata";
    6 Data 0x55D1 PRIMARY_R_CHROMATICITY_X "PrimaryRChromaticityX";
    6 Data 0x55D2 PRIMARY_R_CHROMATICITY_Y "PrimaryRChromaticityY";
    6 Data 0x55D3 PRIMARY_G_CHROMATICITY_X "PrimaryGChromaticityX";
    6 Data 0x55D4 PRIMARY_G_CHROMATICITY_Y "PrimaryGChromaticityY";
    6 Data 0x55D5 PRIMARY_B_CHROMATICITY_X "PrimaryBChromaticityX";
    6 Data 0x55D6 PRIMARY_B_CHROMATICITY_Y "PrimaryBChromaticityY";
    6 Data 0x55D7 WHITE_POINT_CHROMATICITY_X "WhitePointChromaticityX";
    6 Data 0x55D8 WHITE_POINT_CHROMATICITY_Y "WhitePointChromaticityY";
    6 Data 0x55D9 LUMINANCE_MAX "LuminanceMax";
    6 Data 0x55DA LUMINANCE_MIN "LuminanceMin";
    4 Master 0x7670 PROJECTION "Projection";
    5 Data 0x7671 PROJECTION_TYPE "ProjectionType";
    5 Data 0x7672 PROJECTION_PRIVATE "ProjectionPrivate";
    5 Data 0x7673 PROJECTION_POSE_YAW "ProjectionPoseYaw";
    5 Data 0x7674 PROJECTION_POSE_PITCH "ProjectionPosePitch";
    5 Data 0x7675 PROJECTION_POSE_ROLL "ProjectionPoseRoll";
    3 Master 0xE1 AUDIO "Audio";
    4 Data 0xB5 SAMPLING_FREQUENCY "SamplingFrequency";
    4 Data 0x78B5 OUTPUT_SAMPLING_FREQUENCY "OutputSamplingFrequency";
    4 Data 0x9F CHANNELS "Channels";
    4 Data 0x7D7B CHANNEL_POSITIONS "ChannelPositions";
    4 Data 0x6264 BIT_DEPTH "BitDepth";
    3 Master 0xE2 TRACK_OPERATION "TrackOperation";
    4 Master 0xE3 TRACK_COMBINE_PLANES "TrackCombinePlanes";
    5 Master 0xE4 TRACK_PLANE "TrackPlane";
    6 Data 0xE5 TRACK_PLANE_UID "TrackPlaneUID";
    6 Data 0xE6 TRACK_PLANE_TYPE "TrackPlaneType";
    4 Master 0xE9 TRACK_JOIN_BLOCKS "TrackJoinBlocks";
    5 Data 0xED TRACK_JOIN_UID "TrackJoinUID";
    3 Data 0xC0 TRICK_TRACK_UID "TrickTrackUID";
    3 Data 0xC1 TRICK_TRACK_SEGMENT_UID "TrickTrackSegmentUID";
    3 Data 0xC6 TRICK_TRACK_FLAG "TrickTrackFlag";
    3 Data 0xC7 TRICK_MASTER_TRACK_UID "TrickMasterTrackUID";
    3 Data 0xC4 TRICK_MASTER_TRACK_SEGMENT_UID "TrickMasterTrackSegmentUID";
    3 Master 0x6D80 CONTENT_ENCODINGS "ContentEncodings";
    4 Master 0x6240 CONTENT_ENCODING "ContentEncoding";
    5 Data 0x5031 CONTENT_ENCODING_ORDER "ContentEncodingOrder";
    5 Data 0x5032 CONTENT_ENCODING_SCOPE "ContentEncodingScope";
    5 Data 0x5033 CONTENT_ENCODING_TYPE "ContentEncodingType";
    5 Master 0x5034 CONTENT_COMPRESSION "ContentCompression";
    6 Data 0x4254 CONTENT_COMP_ALGO "ContentCompAlgo";
    6 Data 0x4255 CONTENT_COMP_SETTINGS "ContentCompSettings";
    5 Master 0x5035 CONTENT_ENCRYPTION "ContentEncryption";
    6 Data 0x47E1 CONTENT_ENC_ALGO "ContentEncAlgo";
    6 Data 0x47E2 CONTENT_ENC_KEY_ID "ContentEncKeyID";
    6 Data 0x47E3 CONTENT_SIGNATURE "ContentSignature";
    6 Data 0x47E4 CONTENT_SIG_KEY_ID "ContentSigKeyID";
    6 Data 0x47E5 CONTENT_SIG_ALGO "ContentSigAlgo";
    6 Data 0x47E6 CONTENT_SIG_HASH_ALGO "ContentSigHashAlgo";
    6 Master 0x47E7 CONTENT_ENC_AES_SETTINGS "ContentEncAESSettings";
    7 Data 0x47E8 AES_SETTINGS_CIPHER_MODE "AESSettingsCipherMode";
    1 Master 0x1C53_BB6B CUES "Cues";
    2 Master 0xBB CUE_POINT "CuePoint";
    3 Data 0xB3 CUE_TIME "CueTime";
    3 Master 0xB7 CUE_TRACK_POSITIONS "CueTrackPositions";
    4 Data 0xF7 CUE_TRACK "CueTrack";
    4 Data 0xF1 CUE_CLUSTER_POSITION "CueClusterPosition";
    4 Data 0xF0 CUE_RELATIVE_POSITION "CueRelativePosition";
    4 Data 0xB2 CUE_DURATION "CueDuration";
    4 Data 0x5378 CUE_BLOCK_NUMBER "CueBlockNumber";
    4 Data 0xEA CUE_CODEC_STATE "CueCodecState";
    4 Master 0xDB CUE_REFERENCE "CueReference";
    5 Data 0x96 CUE_REF_TIME "CueRefTime";
    5 Data 0x97 CUE_REF_CLUSTER "CueRefCluster";
    5 Data 0x535F CUE_REF_NUMBER "CueRefNumber";
    5 Data 0xEB CUE_REF_CODEC_STATE "CueRefCodecState";
    1 Master 0x1941_A469 ATTACHMENTS "Attachments";
    2 Master 0x61A7 ATTACHED_FILE "AttachedFile";
    3 Data 0x467E FILE_DESCRIPTION "FileDescription";
    3 Data 0x466E FILE_NAME "FileName";
    3 Data 0x4660 FILE_MIME_TYPE "FileMimeType";
    3 Data 0x465C FILE_DATA "FileData";
    3 Data 0x46AE FILE_UID "FileUID";
    3 Data 0x4675 FILE_REFERRAL "FileReferral";
    3 Data 0x4661 FILE_USED_START_TIME "FileUsedStartTime";
    3 Data 0x4662 FILE_USED_END_TIME "FileUsedEndTime";
    1 Master 0x1043_A770 CHAPTERS "Chapters";
    2 Master 0x45B9 EDITION_ENTRY "EditionEntry";
    3 Data 0x45BC EDITION_UID "EditionUID";
    3 Data 0x45BD EDITION_FLAG_HIDDEN "EditionFlagHidden";
    3 Data 0x45DB EDITION_FLAG_DEFAULT "EditionFlagDefault";
    3 Data 0x45DD EDITION_FLAG_ORDERED "EditionFlagOrdered";
    3 Master 0xB6 CHAPTER_ATOM "ChapterAtom";
    4 Data 0x73C4 CHAPTER_UID "ChapterUID";
    4 Data 0x5654 CHAPTER_STRING_UID "ChapterStringUID";
    4 Data 0x91 CHAPTER_TIME_START "ChapterTimeStart";
    4 Data 0x92 CHAPTER_TIME_END "ChapterTimeEnd";
    4 Data 0x98 CHAPTER_FLAG_HIDDEN "ChapterFlagHidden";
    4 Data 0x4598 CHAPTER_FLAG_ENABLED "ChapterFlagEnabled";
    4 Data 0x6E67 CHAPTER_SEGMENT_UID "ChapterSegmentUID";
    4 Data 0x6EBC CHAPTER_SEGMENT_EDITION_UID "ChapterSegmentEditionUID";
    4 Data 0x63C3 CHAPTER_PHYSICAL_EQUIV "ChapterPhysicalEquiv";
    4 Master 0x8F CHAPTER_TRACK "ChapterTrack";
    5 Data 0x89 CHAPTER_TRACK_NUMBER "ChapterTrackNumber";
    4 Master 0x80 CHAPTER_DISPLAY "ChapterDisplay";
    5 Data 0x85 CHAP_STRING "ChapString";
    5 Data 0x437C CHAP_LANGUAGE "ChapLanguage";
    5 Data 0x437D CHAP_LANGUAGE_BCP47 "ChapLanguageBCP47";
    5 Data 0x437E CHAP_COUNTRY "ChapCountry";
    4 Master 0x6944 CHAP_PROCESS "ChapProcess";
    5 Data 0x6955 CHAP_PROCESS_CODEC_ID "ChapProcessCodecID";
    5 Data 0x450D CHAP_PROCESS_PRIVATE "ChapProcessPrivate";
    5 Master 0x6911 CHAP_PROCESS_COMMAND "ChapProcessCommand";
    6 Data 0x6922 CHAP_PROCESS_TIME "ChapProcessTime";
    6 Data 0x6933 CHAP_PROCESS_DATA "ChapProcessData";
    1 Master 0x1254_C367 TAGS "Tags";
    2 Master 0x7373 TAG "Tag";
    3 Master 0x63C0 TARGETS "Targets";
    4 Data 0x68CA TARGET_TYPE_VALUE "TargetTypeValue";
    4 Data 0x63CA TARGET_TYPE "TargetType";
    4 Data 0x63C5 TAG_TRACK_UID "TagTrackUID";
    4 Data 0x63C9 TAG_EDITION_UID "TagEditionUID";
    4 Data 0x63C4 TAG_CHAPTER_UID "TagChapterUID";
    4 Data 0x63C6 TAG_ATTACHMENT_UID "TagAttachmentUID";
    3 Master 0x67C8 SIMPLE_TAG "SimpleTag";
    4 Data 0x45A3 TAG_NAME "TagName";
    4 Data 0x447A TAG_LANGUAGE "TagLanguage";
    4 Data 0x447B TAG_LANGUAGE_BCP47 "TagLanguageBCP47";
    4 Data 0x4484 TAG_DEFAULT "TagDefault";
    4 Data 0x44B4 TAG_DEFAULT_BOGUS "TagDefaultBogus";
    4 Data 0x4487 TAG_STRING "TagString";
    4 Data 0x4485 TAG_BINARY "TagBinary";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_that_may_hold_others_are_masters() {
        for id in
            [EBML, SEGMENT, CLUSTER, TAGS, TAG, SIMPLE_TAG, TRACKS, TRACK_ENTRY, VIDEO, AUDIO, BLOCK_GROUP]
        {
            assert_eq!(describe(id).map(|d| d.kind), Some(Kind::Master), "{id:X}");
        }
        for id in [VOID, TIMECODE, SIMPLE_BLOCK, BLOCK, TAG_NAME] {
            assert_eq!(describe(id).map(|d| d.kind), Some(Kind::Data), "{id:X}");
        }
        assert_eq!(describe(0x7FFF), None);
    }
}
