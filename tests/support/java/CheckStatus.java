import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URL;
import java.net.URLConnection;
import java.net.URLStreamHandler;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CertPath;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertPathValidatorException.BasicReason;
import java.security.cert.CertPathValidatorException.Reason;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CertificateRevokedException;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.PKIXRevocationChecker.Option;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CRL;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Date;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Validates paths by Java's PKIX rules, with the status that it is handed and none that it fetches.
 *
 * Standard input has one case a line: name, "crl" or "ocsp", the moment (milliseconds), the trust
 * anchor, the status, then the path from the leaf upwards; paths of DER files, all split by tabs.
 * Standard output has for each: name, tab, VALID or REVOKED and why or NOT TOLD.
 */
class CheckStatus {
    // An answer that is too old, or about another certificate, has no reason of its own.
    private static final Set<Reason> WITHOUT_STATUS =
        Set.of(BasicReason.UNDETERMINED_REVOCATION_STATUS, BasicReason.UNSPECIFIED);

    private final CertificateFactory factory = CertificateFactory.getInstance("X.509");
    private final CertPathValidator validator = CertPathValidator.getInstance("PKIX");

    CheckStatus() throws Exception {}

    public static void main(String[] arguments) throws Exception {
        URL.setURLStreamHandlerFactory(name -> name.equals("http") ? new NoNetwork() : null);
        CheckStatus check = new CheckStatus();
        for (String line : new String(System.in.readAllBytes()).lines().toList()) {
            String[] fields = line.split("\t");
            System.out.println(fields[0] + "\t" + check.verdict(fields));
        }
    }

    /** Java follows a leaf's CRL address where the CRL that it has does not do. */
    private static class NoNetwork extends URLStreamHandler {
        @Override
        protected URLConnection openConnection(URL url) throws IOException {
            throw new IOException("no network");
        }
    }

    private String verdict(String[] fields) throws Exception {
        List<X509Certificate> path = new ArrayList<>();
        for (int at = 5; at < fields.length; at++) {
            path.add(certificate(fields[at]));
        }
        CertPath certPath = factory.generateCertPath(path);
        try {
            validator.validate(certPath, parameters(fields, path.get(0)));
            return "VALID";
        } catch (CertPathValidatorException error) {
            if (error.getCause() instanceof CertificateRevokedException revoked) {
                return error.getReason() + " " + revoked.getRevocationReason();
            }
            boolean told = !WITHOUT_STATUS.contains(error.getReason());
            return told ? error.getReason().toString() : "NOT TOLD";
        }
    }

    private PKIXParameters parameters(String[] fields, X509Certificate leaf) throws Exception {
        PKIXParameters parameters =
            new PKIXParameters(Set.of(new TrustAnchor(certificate(fields[3]), null)));
        parameters.setDate(new Date(Long.parseLong(fields[2])));
        PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
        // No SOFT_FAIL: a status that cannot be told is an error.
        Set<Option> options = EnumSet.of(Option.NO_FALLBACK, Option.ONLY_END_ENTITY);
        byte[] status = Files.readAllBytes(Path.of(fields[4]));
        if (fields[1].equals("crl")) {
            options.add(Option.PREFER_CRLS);
            X509CRL crl = (X509CRL) factory.generateCRL(new ByteArrayInputStream(status));
            parameters.addCertStore(
                CertStore.getInstance(
                    "Collection", new CollectionCertStoreParameters(List.of(crl))));
        } else {
            checker.setOcspResponses(Map.of(leaf, status));
        }
        checker.setOptions(options);
        parameters.addCertPathChecker(checker);
        return parameters;
    }

    private X509Certificate certificate(String path) throws Exception {
        byte[] der = Files.readAllBytes(Path.of(path));
        return (X509Certificate) factory.generateCertificate(new ByteArrayInputStream(der));
    }
}
