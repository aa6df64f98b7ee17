package io.streamfleet.foreign;

import com.amazonaws.auth.EnvironmentVariableCredentialsProvider;
import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.services.kinesisvideo.AmazonKinesisVideo;
import com.amazonaws.services.kinesisvideo.AmazonKinesisVideoClientBuilder;
import com.amazonaws.services.kinesisvideo.AmazonKinesisVideoPutMedia;
import com.amazonaws.services.kinesisvideo.AmazonKinesisVideoPutMediaClient;
import com.amazonaws.services.kinesisvideo.PutMediaAckResponseHandler;
import com.amazonaws.services.kinesisvideo.model.APIName;
import com.amazonaws.services.kinesisvideo.model.AckEvent;
import com.amazonaws.services.kinesisvideo.model.FragmentTimecodeType;
import com.amazonaws.services.kinesisvideo.model.GetDataEndpointRequest;
import com.amazonaws.services.kinesisvideo.model.PutMediaRequest;
import java.io.InputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Date;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

/**
 * Uploads a file with the vendor's client: {@code PutMedia ENDPOINT REGION STREAM START_MILLIS FILE}, with credentials from
 * the environment and times relative to the start. Prints a line for each acknowledgement: kind, timecode, fragment number,
 * error id ("-" for what is missing). Ends with 0 when the service ended the response after the whole upload.
 */
public final class PutMedia {
    private static final int TIMEOUT_SECONDS = 60;

    private PutMedia() {}

    public static void main(String[] arguments) throws Exception {
        String endpoint = arguments[0];
        String region = arguments[1];
        String stream = arguments[2];
        Date start = new Date(Long.parseLong(arguments[3]));
        Path file = Path.of(arguments[4]);

        AmazonKinesisVideo control = AmazonKinesisVideoClientBuilder.standard()
                .withEndpointConfiguration(new EndpointConfiguration(endpoint, region))
                .withCredentials(new EnvironmentVariableCredentialsProvider())
                .build();
        String dataEndpoint = control.getDataEndpoint(
                        new GetDataEndpointRequest().withStreamName(stream).withAPIName(APIName.PUT_MEDIA))
                .getDataEndpoint();
        control.shutdown();

        CountDownLatch ended = new CountDownLatch(1);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        PutMediaAckResponseHandler handler = new PutMediaAckResponseHandler() {
            @Override
            public void onAckEvent(AckEvent event) {
                System.out.println(String.join(" ",
                        text(event.getAckEventType()), text(event.getFragmentTimecode()),
                        text(event.getFragmentNumber()), text(event.getErrorId())));
            }

            @Override
            public void onFailure(Throwable cause) {
                failure.set(cause);
                ended.countDown();
            }

            @Override
            public void onComplete() {
                ended.countDown();
            }
        };
        try (InputStream payload = Files.newInputStream(file);
                AmazonKinesisVideoPutMedia client = AmazonKinesisVideoPutMediaClient.builder()
                        .withRegion(region)
                        .withEndpoint(URI.create(dataEndpoint))
                        .withCredentials(new EnvironmentVariableCredentialsProvider())
                        .withConnectionTimeoutInMillis(10_000)
                        .build()) {
            client.putMedia(
                    new PutMediaRequest()
                            .withStreamName(stream)
                            .withFragmentTimecodeType(FragmentTimecodeType.RELATIVE)
                            .withProducerStartTimestamp(start)
                            .withPayload(payload),
                    handler);
            if (!ended.await(TIMEOUT_SECONDS, TimeUnit.SECONDS)) {
                failure.set(new IllegalStateException("the response did not end within " + TIMEOUT_SECONDS + " s"));
            }
        }
        if (failure.get() != null) {
            failure.get().printStackTrace();
            System.exit(1);
        }
        System.exit(0);
    }

    private static String text(Object value) {
        return value == null || value.toString().isEmpty() ? "-" : value.toString();
    }
}
